"""What is shown of what comes out."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from schemas.assignments import (
    AssignedCategory,
    CategoryAssigned,
    ImageUse,
    Modalities,
    ModelReference,
    SourceReference,
    TextUse,
)
from schemas.codec import encode
from schemas.dead_letters import Failure, Reason, Stage, dead_letter_headers
from schemas.explanations import (
    CategoryExplained,
    CategoryReference,
    Explanation,
    ExplanationMethod,
    ImageAttribution,
    ModalityAttribution,
    TextAttribution,
    TextField,
)
from stream_app.commands.watch import LatestTable, as_json, cells
from stream_app.watching import Arrivals, Outcome, read_outcome, used_evidence

NOON_MS = 1_764_072_000_000


@dataclass(frozen=True)
class FakeRecord:
    topic: str = "category-assigned"
    partition: int = 0
    offset: int = 0
    timestamp: int = NOON_MS
    key: bytes | None = b"42"
    value: bytes | None = b""
    headers: tuple[tuple[str, bytes | None], ...] = ()


def assigned(label: str = "Piscines", product_id: str = "42") -> CategoryAssigned:
    return CategoryAssigned(
        assignment_id="a",
        event_id="e",
        product_id=product_id,
        category=AssignedCategory(code=2583, label=label, probability=0.9712),
        modalities=Modalities(text=TextUse.USED, image=ImageUse.UNAVAILABLE),
        image_reason="timeout",
        model=ModelReference(name="fusion", version="7"),
        source=SourceReference(topic="product-listed", partition=1, offset=5),
        assigned_at=datetime(2026, 11, 25, 12, tzinfo=UTC),
    )


def explained(word: str = "piscine") -> CategoryExplained:
    attributions = (0.1, -0.5, 2.0, 0.2)
    spans = tuple(
        TextAttribution(field=TextField.TITLE, start=0, end=len(word), text=word, attribution=attribution)
        for attribution in attributions
    )
    explanation = Explanation(
        category=CategoryReference(code=2583, label="Piscines"),
        base_value=-1.0,
        value=1.2,
        text=spans,
        image=ImageAttribution(grid=(1, 1), attributions=((0.4,),), width=8, height=8),
        by_modality=ModalityAttribution(text=1.8, image=0.4),
    )
    return CategoryExplained(
        explanation_id="x",
        request_id="r",
        event_id="e",
        product_id="42",
        model=ModelReference(name="fusion", version="7"),
        explanations=(explanation,),
        method=ExplanationMethod(text="exact", image="cells", evaluations=1),
        additivity_error=0.0,
        explained_at=datetime(2026, 11, 25, 12, tzinfo=UTC),
    )


def failed(message: str = "not JSON") -> FakeRecord:
    failure = Failure(Stage.DECODE, Reason.MALFORMED, message, "product-listed-1-5")
    return FakeRecord("product-listed.dead-letter", value=b"{", headers=tuple(dead_letter_headers(failure)))


def arrivals(timestamp_ms: int = NOON_MS - 45) -> Arrivals:
    seen = Arrivals()
    seen.add(FakeRecord("product-listed", 1, 5, timestamp_ms))
    return seen


def outcome_of(
    record: FakeRecord,
    seen: Arrivals | None = None,
    kind: type[CategoryAssigned | CategoryExplained] = CategoryAssigned,
) -> Outcome:
    outcome = read_outcome(record, seen or arrivals(), kind)
    assert outcome is not None
    return outcome


def test_a_category_is_shown_with_evidence_and_age() -> None:
    outcome = outcome_of(FakeRecord(value=encode(assigned())))
    assert outcome.at == datetime.fromtimestamp(NOON_MS / 1000, UTC)
    assert cells(outcome)[1:] == ("42", "2583 Piscines", "97.1%", "text (image: timeout)", "45 ms")


def test_an_explanation_is_shown_with_what_speaks_loudest() -> None:
    outcome = outcome_of(FakeRecord(value=encode(explained())), kind=CategoryExplained)
    why = "why 2583 Piscines: piscine +2.00, piscine -0.50, piscine +0.20, picture +0.40"
    assert cells(outcome)[1:] == ("42", why, "-", "explained", "-")
    line = json.loads(as_json(outcome))
    assert (line["kind"], line["explained"]["request_id"]) == ("category-explained", "r")


def test_a_dead_letter_is_shown_with_stage_reason_and_age() -> None:
    outcome = outcome_of(failed())
    assert cells(outcome)[1:] == ("42", "dead letter: malformed (decode): not JSON", "-", "-", "45 ms")


def test_an_event_whose_arrival_was_not_seen_has_no_age() -> None:
    assert cells(outcome_of(failed(), Arrivals()))[-1] == "-"


@pytest.mark.parametrize("kind", [CategoryAssigned, CategoryExplained])
@pytest.mark.parametrize("value", [b"", b"\xff{", b"[]", b"{}"])
def test_a_record_of_somebody_else_is_told_and_does_not_end_the_watch(
    value: bytes, kind: type[CategoryAssigned | CategoryExplained]
) -> None:
    outcome = outcome_of(FakeRecord(value=value, key=None), kind=kind)
    assert cells(outcome)[1] == "-"
    assert cells(outcome)[2].startswith("cannot be read: ")
    assert json.loads(as_json(outcome))["kind"] == "unreadable"


def test_a_tombstone_is_nothing() -> None:
    assert read_outcome(FakeRecord(value=None), Arrivals()) is None


def test_only_the_latest_arrivals_are_remembered() -> None:
    seen = Arrivals(max_remembered=2)
    for offset in range(3):
        seen.add(FakeRecord("product-listed", 0, offset, 100))
    ages = [seen.age_ms(f"product-listed-0-{offset}", 107) for offset in range(3)]
    assert ages == [None, 7, 7]


@pytest.mark.parametrize(
    ("text", "image", "said"),
    [
        (TextUse.USED, ImageUse.USED, "text + image"),
        (TextUse.TRUNCATED, ImageUse.ABSENT, "text (truncated)"),
        (TextUse.ABSENT, ImageUse.USED, "image"),
        (TextUse.USED, ImageUse.SKIPPED, "text (image: skipped)"),
        (TextUse.ABSENT, ImageUse.UNAVAILABLE, "nothing (image: unavailable)"),
    ],
)
def test_evidence_is_said_in_a_few_words(text: TextUse, image: ImageUse, said: str) -> None:
    assert used_evidence(Modalities(text=text, image=image), None) == said


def test_json_lines_hold_the_message_or_the_failure() -> None:
    category = json.loads(as_json(outcome_of(FakeRecord(value=encode(assigned())))))
    assert (category["kind"], category["latency_ms"]) == ("category-assigned", 45)
    assert category["assigned"]["category"] == {"code": 2583, "label": "Piscines", "probability": 0.9712}
    failure = json.loads(as_json(outcome_of(failed())))
    assert (failure["kind"], failure["stage"], failure["reason"]) == ("dead-letter", "decode", "malformed")


@given(st.text(max_size=300))
def test_no_text_from_a_topic_can_steer_the_terminal(text: str) -> None:
    for outcome in (
        outcome_of(FakeRecord(value=encode(assigned(label=text)))),
        outcome_of(FakeRecord(value=encode(explained(text))), kind=CategoryExplained),
        outcome_of(failed(text)),
    ):
        assert all(cell.isprintable() for cell in cells(outcome))
        assert "\n" not in as_json(outcome)


def test_the_table_shows_the_latest_and_counts_all() -> None:
    now = [0.0]
    table = LatestTable(num_rows=2, clock=lambda: now[0])
    for product_id in ("1", "2", "3"):
        table.add(outcome_of(FakeRecord(value=encode(assigned("[red]Jeux[/red]", product_id)))))
    assert [str(cell) for cell in table.render().columns[2].cells] == ["2583 [red]Jeux[/red]"] * 2
    assert "3 categories, 0 dead letters" in str(table.render().title)
    table.add(outcome_of(FakeRecord(value=encode(explained())), kind=CategoryExplained))
    table.add(outcome_of(failed()))
    now[0] = 2.0
    console = Console(width=120, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table.render())
    shown = captured.get()
    assert "3 categories, 1 explanations, 1 dead letters, 2.5/s" in shown
    assert shown.count("2583") == 1
    assert "malformed" in shown
