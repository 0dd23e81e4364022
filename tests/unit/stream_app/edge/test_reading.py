"""Whom a record of a topic of results answers."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letters import Failure, Headers, Reason, Stage, build_dead_letter, dead_letter_headers
from schemas.export_examples import EXAMPLES
from stream_app.edge.reading import read_arrival
from stream_app.edge.results import Kind, Subject
from stream_app.topics import TopicSettings

TOPICS = TopicSettings()


@dataclass(frozen=True)
class Read:
    """A record as it was read."""

    topic: str
    value: bytes | None
    headers: Headers = ()
    key: bytes | None = b"p-1"
    timestamp: int = 1_000
    partition: int = 0
    offset: int = 0


def example(topic: str) -> bytes:
    return json.dumps(EXAMPLES[topic][0][2]["payload"]).encode()


def dead(value: bytes | None, source: str, *headers: tuple[str, bytes | None]) -> Read:
    failure = Failure(Stage.VALIDATE, Reason.INVALID, "wrong", source)
    return Read(TOPICS.dead_letter_topic, value, [*headers, *dead_letter_headers(failure)])


def subject_of(record: Read) -> Subject | None:
    arrival = read_arrival(record, TOPICS)
    assert arrival is not None
    return arrival.subject


def test_results_answer_the_event_or_the_question_they_name() -> None:
    assigned = read_arrival(Read(TOPICS.category_assigned_topic, example("category-assigned")), TOPICS)
    assert assigned is not None
    assert assigned.subject == Subject(Kind.LISTING, "e-1")
    assert assigned.result.product_id == "3804725264"
    explained = Read(TOPICS.category_explained_topic, example("category-explained"))
    assert subject_of(explained) == Subject(Kind.QUESTION, "r-1")


LISTED, ASKED = "product-listed-0-7", "explanation-requested-0-7"


@pytest.mark.parametrize(
    ("record", "subject"),
    [
        (dead(b'{"event_id": "e-1"}', LISTED), Subject(Kind.LISTING, "e-1")),
        (dead(b'{"event_id": 17}', LISTED), Subject(Kind.LISTING, "17")),
        (dead(b'{"event_id": "e-1"}', LISTED, ("ce_id", b"e-2")), Subject(Kind.LISTING, "e-1")),
        (dead(b"{}", LISTED, ("ce_id", b"e-2")), Subject(Kind.LISTING, "e-2")),
        (dead(b'{"event_id": "e-', LISTED, ("ce_id", b"e-1")), Subject(Kind.LISTING, "e-1")),
        (dead(b"{}", LISTED), Subject(Kind.LISTING, LISTED)),
        (dead(b"\xff", LISTED), Subject(Kind.LISTING, LISTED)),
        (dead(b'{"event_id": " "}', LISTED), Subject(Kind.LISTING, LISTED)),
        (dead(b'{"request_id": "r-1", "event_id": "e-1"}', ASKED), Subject(Kind.QUESTION, "r-1")),
        (dead(b'{"correction_id": "c-1"}', "category-corrected-0-7"), None),
        (dead(b"{}", "nowhere"), None),
    ],
)
def test_a_dead_letter_answers_what_the_worker_took_it_for(record: Read, subject: Subject | None) -> None:
    assert subject_of(record) == subject


@pytest.mark.parametrize(
    "record",
    [
        Read(TOPICS.category_assigned_topic, None),
        Read(TOPICS.category_assigned_topic, b"{}"),
        Read(TOPICS.category_explained_topic, b"no JSON"),
        Read(TOPICS.dead_letter_topic, b"{}"),
        Read(TOPICS.dead_letter_topic, None),
    ],
)
def test_what_is_none_of_ours_is_passed_over(record: Read) -> None:
    assert read_arrival(record, TOPICS) is None


@given(st.binary(max_size=300), st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=20))))
def test_whatever_the_bytes_nothing_breaks(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    failure = Failure(Stage.DECODE, Reason.MALFORMED, "no JSON", LISTED)
    letter = build_dead_letter(b"k", value, headers, failure, max_bytes=100_000)
    record = Read(TOPICS.dead_letter_topic, letter.value, letter.headers, letter.key)
    found = subject_of(record)
    assert found is not None
    assert found.identifier
    for topic in (TOPICS.category_assigned_topic, TOPICS.category_explained_topic):
        read_arrival(Read(topic, value, headers), TOPICS)
