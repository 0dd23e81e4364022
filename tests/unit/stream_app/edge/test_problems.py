"""Errors of messages, pictures and models as they are told to clients."""

import json
import logging

import pytest

from models.errors import BundleError, ImageError, ImageReason, ModelError, PromotionError, RepositoryError
from schemas.dead_letters import Failure, Reason, Stage
from schemas.errors import (
    EmptyListingError,
    FramingError,
    InvalidMessageError,
    MalformedError,
    MessageTooLargeError,
    ShelverError,
)
from stream_app.edge.problems import ProblemError, dead_letter, of_error, problem_response
from stream_app.errors import SettingsError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MalformedError("no JSON"), (400, "malformed")),
        (FramingError("framed", schema_id=7), (400, "malformed")),
        (MessageTooLargeError("large", size_bytes=2, limit_bytes=1), (413, "too-large")),
        (InvalidMessageError("wrong", fields=("title",)), (422, "invalid")),
        (EmptyListingError("empty"), (422, "invalid")),
        (ImageError(ImageReason.BLOCKED, "blocked"), (422, "blocked-address")),
        (ImageError(ImageReason.UNSUPPORTED_FORMAT, "html"), (415, "unsupported-media-type")),
        (ImageError(ImageReason.TOO_MANY_PIXELS, "large"), (413, "too-large")),
        (ImageError(ImageReason.TRUNCATED, "cut"), (422, "invalid")),
        (PromotionError("worse"), (409, "conflict")),
        (BundleError("damaged"), (409, "conflict")),
        (RepositoryError("none"), (404, "not-found")),
        (ModelError("wrong"), (422, "invalid")),
        (ProblemError(418, "teapot", "short and stout"), (418, "teapot")),
    ],
)
def test_an_error_has_its_status_and_kind(error: ShelverError, told: tuple[int, str]) -> None:
    problem = of_error(error)
    assert (problem.status, problem.kind) == told
    assert str(error) in str(problem)


def test_an_error_that_is_no_clients_business_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        problem = of_error(SettingsError("/a/secret/path"))
    assert problem.status == 500
    assert "secret" not in str(problem)
    assert "secret" in caplog.text


def test_a_problem_is_told_in_the_form_of_rfc_9457() -> None:
    failure = Failure(Stage.PREPARE, Reason.EMPTY_LISTING, "nothing to classify", "product-listed-0-1")
    answer = problem_response(dead_letter(failure, event_id="e-1"), "r-1")
    assert answer.media_type == "application/problem+json"
    assert json.loads(bytes(answer.body)) == {
        "type": "urn:shelver:problem:dead-letter",
        "title": "Dead letter",
        "status": 422,
        "detail": "the event cannot be served: nothing to classify",
        "request_id": "r-1",
        "stage": "prepare",
        "reason": "empty_listing",
        "event_id": "e-1",
    }
