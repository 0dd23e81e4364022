"""What is sent, what is not sent again, and what is answered; the brokers stand still here."""

from collections.abc import Sequence

import pytest

from schemas.dead_letters import Failure, Reason, Stage
from schemas.explanations import ExplanationRequested, explanation_request_id
from schemas.products import ProductListed
from stream_app.edge.problems import ProblemError
from stream_app.edge.results import OVERHEAD_BYTES, Kind, Result, Results, Subject
from stream_app.edge.sending import Letter, Sender
from stream_app.edge.submitting import Submission, Submissions, listing_submission, question_submission

FAILURE = Failure(Stage.PREPARE, Reason.EMPTY_LISTING, "nothing to classify", "product-listed-0-1")


class Brokers(Sender):
    """Confirms what it is told to confirm, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__("", {}, (), confirm_seconds=1, on_sent=lambda _: None)
        self.are_away = False
        self.sent: list[str] = []

    async def send(self, letters: Sequence[Letter]) -> None:
        if self.are_away:
            raise ProblemError(503, "unavailable", "away")
        self.sent += [letter.value.decode() for letter in letters]


def listing(event_id: str = "e-1", *, explain: bool = False, **fields: str) -> Submission:
    message = ProductListed.model_validate(
        {"event_id": event_id, "product_id": "p-1", "title": "Lampe", "explain": explain} | fields
    )
    return listing_submission(message, "product-listed", [])


def result(product_id: str = "p-1") -> Result:
    return Result(product_id, b"{}", 1)


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def results() -> Results:
    return Results(100_000)


@pytest.fixture
def submissions(brokers: Brokers, results: Results) -> Submissions:
    return Submissions(brokers, results)


SUBJECT = Subject(Kind.LISTING, "e-1")
QUESTION = Subject(Kind.QUESTION, explanation_request_id("e-1"))


async def test_what_is_worked_on_is_not_sent_again(submissions: Submissions, brokers: Brokers) -> None:
    for _ in range(2):
        assert await submissions.submit([listing()], seconds=0) == [(None, None)]
    assert len(brokers.sent) == 1
    assert submissions.is_pending(SUBJECT)


async def test_of_nothing_there_is_nothing_to_wait_for(submissions: Submissions, brokers: Brokers) -> None:
    assert await submissions.submit([], seconds=60) == []
    assert not brokers.sent


async def test_what_the_brokers_did_not_confirm_is_sent_again(
    submissions: Submissions, brokers: Brokers
) -> None:
    brokers.are_away = True
    with pytest.raises(ProblemError, match="away"):
        await submissions.submit([listing()], seconds=0)
    assert not submissions.is_pending(SUBJECT)
    brokers.are_away = False
    await submissions.submit([listing()], seconds=0)
    assert len(brokers.sent) == 1


async def test_what_is_known_is_answered_without_brokers(
    submissions: Submissions, brokers: Brokers, results: Results
) -> None:
    brokers.are_away = True
    results.put(SUBJECT, result())
    assert await submissions.submit([listing()], seconds=0) == [(result(), None)]


async def test_a_result_that_is_no_longer_kept_can_be_had_again(brokers: Brokers) -> None:
    results = Results(OVERHEAD_BYTES)
    submissions = Submissions(brokers, results)
    await submissions.submit([listing()], seconds=0)
    submissions.answered(SUBJECT)
    assert not submissions.is_pending(SUBJECT)
    await submissions.submit([listing()], seconds=0)
    assert len(brokers.sent) == 2


@pytest.mark.parametrize("other", [listing(title="Chaise"), listing(product_id="p-2")])
async def test_one_id_stands_for_one_content(
    submissions: Submissions, brokers: Brokers, other: Submission
) -> None:
    await submissions.submit([listing()], seconds=0)
    with pytest.raises(ProblemError, match="other content") as caught:
        await submissions.submit([listing("e-2"), other], seconds=0)
    assert caught.value.status == 409
    assert len(brokers.sent) == 1


async def test_nobody_gets_the_result_of_another_product(submissions: Submissions, results: Results) -> None:
    results.put(SUBJECT, result("of somebody else"))
    with pytest.raises(ProblemError, match="other content"):
        await submissions.submit([listing()], seconds=0)


async def test_an_explanation_is_waited_for_where_it_was_asked_for(
    submissions: Submissions, results: Results
) -> None:
    assert await submissions.submit([listing(explain=True)], seconds=0) == [(None, None)]
    assert submissions.asks_to_be_explained(SUBJECT)
    results.put(SUBJECT, result())
    assert await submissions.find(SUBJECT, seconds=0) == (result(), None)
    results.put(QUESTION, result())
    assert await submissions.find(SUBJECT, seconds=100) == (result(), result())


async def test_of_a_dead_letter_no_explanation_is_waited_for(
    submissions: Submissions, results: Results
) -> None:
    failed = Result("p-1", FAILURE, 1)
    results.put(SUBJECT, failed)
    assert await submissions.submit([listing(explain=True)], seconds=100) == [(failed, None)]


async def test_a_question_is_sent_under_the_key_of_its_product() -> None:
    question = ExplanationRequested(request_id="r-1", event_id="e-1")
    for product_id, key in (("p-1", b"p-1"), (None, None)):
        submission = question_submission(question, "asked", [], product_id=product_id)
        assert (submission.letter.key, submission.subject) == (key, Subject(Kind.QUESTION, "r-1"))
