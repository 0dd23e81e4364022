"""What the console reads is what the gateway writes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from schemas.assignments import CategoryAssigned
from schemas.codec import encode
from schemas.dead_letters import Failure, Reason, Stage
from schemas.explanations import CategoryExplained
from schemas.export_examples import EXAMPLES
from stream_app.console import answers as ours
from stream_app.edge import answers as theirs
from stream_app.edge.live import Live
from stream_app.edge.problems import ProblemError, dead_letter
from stream_app.edge.results import Result
from stream_app.edge.routes.limits import LimitsAnswer
from stream_app.edge.routes.models import CategoriesAnswer, PromotionAnswer, VersionsAnswer
from stream_app.edge.routes.training_runs import TrainingRunsAnswer
from stream_app.edge.training_runs import TrainingRunDetail
from tests.unit.stream_app.edge.test_limits import Clock
from tests.unit.stream_app.edge.test_live import assigned, failed

FAILURE = Failure(Stage.PREPARE, Reason.EMPTY_LISTING, "nothing in it", "product-listed-0-1")
RUN: dict[str, Any] = {
    "id": "20261130-145007-70dcefbb",
    "catalogue": "shop",
    "settings": {"model": "text", "text.epochs": 2},
    "state": "running",
    "started_at": datetime(2026, 11, 30, tzinfo=UTC),
    "fits": [{"name": "text", "epoch": 1, "done": False, "metrics": [{"step": 0.0, "val/loss": 1.5}]}],
}


def example(topic: str, kind: type[Any]) -> Any:
    return kind.model_validate(EXAMPLES[topic][0][2]["payload"])


def product_answers() -> list[theirs.ProductAnswer]:
    category = encode(example("category-assigned", CategoryAssigned))
    explained = encode(example("category-explained", CategoryExplained))
    return [
        theirs.ProductAnswer.of("e-1", None),
        theirs.ProductAnswer.of("e-1", Result("p-1", category, 0)),
        theirs.ProductAnswer.of("e-1", Result("p-1", category, 0), Result("p-1", explained, 0)),
        theirs.ProductAnswer.of("e-1", Result("p-1", FAILURE, 0)),
        theirs.ProductAnswer.refused(ProblemError(413, "too-large", "too large"), "p-1"),
    ]


def live() -> BaseModel:
    watched = Live(Clock())
    watched.take(assigned(1))
    watched.take(failed())
    return watched.answer()


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        *((answer, ours.ProductAnswer) for answer in product_answers()),
        (theirs.ProductAnswers(products=product_answers()), ours.ProductAnswers),
        (theirs.ExplanationAnswer.of("r-1", None), ours.ExplanationAnswer),
        (dead_letter(FAILURE).details("r-1"), ours.Problem),
        (live(), ours.Live),
        (TrainingRunDetail.model_validate(RUN), ours.TrainingRun),
        (
            TrainingRunsAnswer.model_validate({"catalogues": ["shop"], "runs": [RUN]}),
            ours.TrainingRuns,
        ),
        (
            LimitsAnswer(
                max_body_bytes=10,
                max_record_bytes=None,
                max_products=1,
                deadline_seconds=1,
                max_wait_seconds=2,
            ),
            ours.Limits,
        ),
        (
            CategoriesAnswer.model_validate(
                {"model": {"name": "m", "version": "1"}, "categories": [{"code": 10, "label": "Livres"}]}
            ),
            ours.Categories,
        ),
        (
            VersionsAnswer.model_validate(
                {
                    "serving": "m@champion",
                    "versions": [
                        {
                            "name": "m",
                            "version": "1",
                            "aliases": [],
                            "created_at": None,
                            "rows": None,
                            "weighted_f1": None,
                            "error": "damaged",
                        }
                    ],
                }
            ),
            ours.Versions,
        ),
        (
            PromotionAnswer(
                name="m", alias="champion", version="2", previous_version="1", comparison={"rows": 5}
            ),
            ours.Promotion,
        ),
    ],
)
def test_what_the_console_knows_is_what_is_told(told: BaseModel, kind: type[BaseModel]) -> None:
    read = kind.model_validate_json(told.model_dump_json(by_alias=True))
    assert agree(read.model_dump(mode="json"), told.model_dump(mode="json", by_alias=True))
    assert set(kind.model_fields) <= set(type(told).model_fields)


def agree(read: Any, said: Any) -> bool:
    """Whether what was read is what was said, but for fields that are not read, or not said."""
    if isinstance(read, dict) and isinstance(said, dict):
        return all(agree(read[name], said[name]) for name in read.keys() & said.keys())
    if isinstance(read, list) and isinstance(said, list):
        return len(read) == len(said) and all(map(agree, read, said))
    return bool(read == said)


def test_the_kind_of_a_problem_is_the_end_of_its_type() -> None:
    assert ours.Problem.model_validate_json(dead_letter(FAILURE).details().model_dump_json()).kind == (
        "dead-letter"
    )


def limits(body: int, record: int | None) -> ours.Limits:
    return ours.Limits(
        max_body_bytes=body,
        max_record_bytes=record,
        max_products=100,
        deadline_seconds=10,
        max_wait_seconds=60,
    )


def test_a_picture_may_be_as_large_as_its_record_in_base64() -> None:
    assert limits(10 * 2**20, None).max_picture_bytes == 10 * 2**20 - 64 * 1024
    told = limits(10 * 2**20, 10 * 2**20).max_picture_bytes
    assert told * 4 / 3 < 10 * 2**20 < told * 4 / 3 + 2**17
    assert limits(1_024, 1_024).max_picture_bytes == 0
