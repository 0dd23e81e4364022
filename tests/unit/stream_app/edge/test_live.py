"""What streams through: counts, rates and the latest."""

from datetime import UTC, datetime
from typing import Any

from schemas.assignments import CategoryAssigned
from schemas.codec import encode
from schemas.dead_letters import Failure, Reason, Stage
from schemas.export_examples import EXAMPLES
from stream_app.edge.live import MAX_LATEST, Live
from stream_app.edge.reading import Arrival
from stream_app.edge.results import Kind, Result, Subject
from tests.unit.stream_app.edge.test_limits import Clock


def assigned(number: int, code: int = 10) -> Arrival:
    fields: dict[str, Any] = EXAMPLES["category-assigned"][0][2]["payload"]
    category = {"code": code, "label": f"c-{code}", "probability": 0.5}
    message = CategoryAssigned.model_validate({**fields, "event_id": f"e-{number}", "category": category})
    subject = Subject(Kind.LISTING, message.event_id)
    return Arrival(subject, Result(message.product_id, encode(message), 1_000 * number), message)


def failed(source: str = "category-corrected-0-1", subject: Subject | None = None) -> Arrival:
    failure = Failure(Stage.DECODE, Reason.MALFORMED, "no JSON", source)
    return Arrival(subject, Result("p-1", failure, 5_000), None)


def test_the_latest_come_first_and_only_what_is_new_is_told_again() -> None:
    live = Live(Clock())
    for number in range(1, 4):
        live.take(assigned(number))
    live.take(failed())
    told = live.answer()
    assert [each.event_id for each in told.latest] == ["e-3", "e-2", "e-1"]
    assert told.latest[0].at == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)
    assert [(each.event_id, each.reason) for each in told.failed] == [(None, "malformed")]
    assert (told.assigned, told.dead_letters, told.sequence) == (3, 1, 4)
    assert [each.event_id for each in live.answer(since=2).latest] == ["e-3"]
    assert [each.event_id for each in live.answer(most=1).latest] == ["e-3"]
    assert live.answer(since=4).latest == []


def test_rates_are_of_the_last_minute_and_the_past_is_not_counted() -> None:
    clock = Clock()
    live = Live(clock)
    live.take(assigned(1), is_past=True)
    assert (live.answer().assigned, live.answer().assigned_per_second) == (0, 0.0)
    for _ in range(10):
        live.take(assigned(2))
    clock.now += 10
    assert live.answer().assigned_per_second == 1.0
    clock.now += 61
    assert live.answer().assigned_per_second == 0.0
    assert live.answer().assigned == 10


def test_categories_are_counted_and_the_most_frequent_comes_first() -> None:
    live = Live(Clock())
    for number in range(MAX_LATEST + 10):
        live.take(assigned(number, code=20 if number % 3 else 10))
    told = live.answer()
    assert len(told.latest) == MAX_LATEST
    assert [(each.category.code, each.count) for each in told.categories] == [(20, 140), (10, 70)]
