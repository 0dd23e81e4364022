"""Every error has its place: a dead letter with stage and reason, or a documented end of the process."""

import importlib
import pkgutil

import pytest

import models.errors
import schemas.errors
import stream_app.catalogue_publishing
import stream_app.console.client
import stream_app.edge.problems
import stream_app.errors
import stream_app.kafka_distribution
import stream_app.shop_pages.errors
import stream_app.web.errors
import training
from models.errors import NonFiniteScoresError
from schemas.dead_letters import Reason, Stage, read_failure
from schemas.errors import InvalidMessageError, MalformedError, ShelverError
from stream_app.dead_letters import FAILURES, MAX_DEAD_LETTER_BYTES, dead_letter, dead_letters, failure_of
from stream_app.stages import Rejected
from tests.unit.stream_app.records import PlainRecord

END_THE_COMMAND = {
    schemas.errors.CatalogueError,
    models.errors.BundleError,
    models.errors.RepositoryError,
    models.errors.PromotionError,
    models.errors.UnsupportedKindError,
    models.errors.DeviceError,
    models.errors.CascadeError,
    models.errors.ExplanationError,
    stream_app.kafka_distribution.BrokerError,
    stream_app.kafka_distribution.BrokerSetupError,
    stream_app.catalogue_publishing.DeliveryError,
    stream_app.errors.AccessError,
    stream_app.errors.SettingsError,
    stream_app.errors.TopicError,
    stream_app.errors.FatalError,
}
"""Errors of the operator or the world: exit code, nothing acknowledged."""

LEAVE_A_FLAG = {models.errors.ImageError}
"""The product is classified without its picture, and says so."""

BEFORE_AN_EVENT = {stream_app.shop_pages.errors.PageError, stream_app.web.errors.FetchError}
"""Nothing was listed yet: a picture's reason says so, or whoever asked for a page is told."""

ANSWER_A_REQUEST = {stream_app.edge.problems.ProblemError, stream_app.console.client.GatewayError}
"""Told to whoever asks the gateway, or looks at the console."""

PACKAGES = ("schemas.", "models.", "training.", "stream_app.")

ROOTS = {ShelverError, schemas.errors.MessageError, models.errors.ModelError}


def leaves(kind: type[Exception]) -> set[type[Exception]]:
    found = {kind}
    for child in kind.__subclasses__():
        found |= leaves(child)
    return found


def test_every_error_of_an_event_is_in_the_table() -> None:
    for package in (schemas, models, training, stream_app):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    ours = {kind for kind in leaves(ShelverError) if kind.__module__.startswith(PACKAGES)}
    told = LEAVE_A_FLAG | BEFORE_AN_EVENT | ANSWER_A_REQUEST
    assert ours - set(FAILURES) == END_THE_COMMAND | told | ROOTS


@pytest.mark.parametrize(
    ("error", "stage", "expected"),
    [
        (MalformedError("not JSON"), Stage.DECODE, (Stage.DECODE, Reason.MALFORMED)),
        (InvalidMessageError("no product_id"), Stage.DECODE, (Stage.VALIDATE, Reason.INVALID)),
        (NonFiniteScoresError("NaN"), Stage.INFERENCE, (Stage.INFERENCE, Reason.NON_FINITE_SCORES)),
        (KeyError("x"), Stage.PREPARE, (Stage.PREPARE, Reason.PREPARATION_ERROR)),
        (RuntimeError("x"), Stage.INFERENCE, (Stage.INFERENCE, Reason.MODEL_ERROR)),
    ],
)
def test_an_error_becomes_its_stage_and_reason(
    error: Exception, stage: Stage, expected: tuple[Stage, Reason]
) -> None:
    failure = failure_of(Rejected(PlainRecord(offset=7), error, stage))
    assert (failure.stage, failure.reason) == expected
    assert failure.source == "product-listed-0-7"


def test_a_dead_letter_keeps_key_value_and_headers_and_says_what_was_wrong() -> None:
    record = PlainRecord(key=None, value=b"\xff\x00", headers=[("a", None), ("a", b"\xff")], partition=3)
    rejected = Rejected(record, MalformedError("not JSON"), Stage.DECODE)
    letter = dead_letter(rejected, failure_of(rejected), topic="dead")
    assert (letter.topic, letter.key, letter.value, letter.source.partition) == ("dead", None, b"\xff\x00", 3)
    assert list(letter.headers[:2]) == [("a", None), ("a", b"\xff")]
    failure = read_failure(letter.headers)
    assert failure is not None
    assert failure.message == "not JSON"


def test_a_dead_letter_is_never_larger_than_a_default_broker_takes() -> None:
    rejected = Rejected(PlainRecord(value=b"x" * 3_000_000), MalformedError("not JSON"), Stage.DECODE)
    letter = dead_letter(rejected, failure_of(rejected), topic="dead")
    assert len(letter.value) < MAX_DEAD_LETTER_BYTES
    headers = dict(letter.headers)
    assert headers["shelver.original-size"] == b"3000000"
    assert len(headers["shelver.original-sha256"] or b"") == 64


def test_dead_letters_fit_into_the_batches_they_are_published_in() -> None:
    rejected = [
        Rejected(PlainRecord(value=b"x" * size), MalformedError("bad"), Stage.DECODE) for size in (9, 50_000)
    ]
    short, cut = dead_letters(rejected, topic="dead", max_bytes=20_000)
    assert short.value == b"x" * 9
    assert len(cut.value) < 20_000
    assert dict(cut.headers)["shelver.original-size"] == b"50000"
