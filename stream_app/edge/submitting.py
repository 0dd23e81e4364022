"""Listings and questions on their way: sent once, confirmed, and waited for.

The waiter is there before the record, so no answer is missed. What is known already is answered without being
sent again, and so is what was sent and is still worked on.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.base import Message
from schemas.codec import encode
from schemas.dead_letters import Failure
from schemas.explanations import ExplanationRequested, explanation_request_id
from schemas.products import ProductListed
from stream_app.edge.problems import ProblemError
from stream_app.edge.results import Kind, Result, Results, Subject
from stream_app.edge.sending import Letter, Sender

__all__ = ["Found", "Submission", "Submissions", "listing_submission", "question_submission"]

MAX_REMEMBERED: Final = 100_000
"""Of what was sent: an id and a digest each."""


class Found(NamedTuple):
    """What came for a listing and for the question about it, or for a question alone."""

    listing: Result | None
    question: Result | None


@dataclass(frozen=True, slots=True)
class Submission:
    """A record to send, and whom its answers are about.

    Attributes:
        letter: the record.
        subject: whom it is about.
        product_id: the product, where it is known.
        question: of a listing that asks to be explained.
    """

    letter: Letter
    subject: Subject
    product_id: str | None = None
    question: Subject | None = None

    @property
    def digest(self) -> bytes:
        """Of what it says: under one id only one thing can be said."""
        return hashlib.sha256(self.letter.value).digest()


def listing_submission(
    listing: ProductListed, topic: str, headers: Sequence[tuple[str, bytes]]
) -> Submission:
    """The submission of a listing."""
    question = Subject(Kind.QUESTION, explanation_request_id(listing.event_id)) if listing.explain else None
    return Submission(
        _letter(listing, topic, listing.product_id, headers),
        Subject(Kind.LISTING, listing.event_id),
        listing.product_id,
        question,
    )


def question_submission(
    question: ExplanationRequested,
    topic: str,
    headers: Sequence[tuple[str, bytes]],
    *,
    product_id: str | None,
) -> Submission:
    """The submission of a question; the product is the key of its record, where it is known."""
    letter = _letter(question, topic, product_id, headers)
    return Submission(letter, Subject(Kind.QUESTION, question.request_id), product_id)


def _letter(
    message: Message, topic: str, product_id: str | None, headers: Sequence[tuple[str, bytes]]
) -> Letter:
    return Letter(topic, product_id.encode() if product_id else None, encode(message), headers)


class Submissions:
    """Sends submissions and waits for what comes of them.

    Args:
        sender: the way to Kafka.
        results: where answers arrive.
    """

    def __init__(self, sender: Sender, results: Results) -> None:
        self._sender = sender
        self._results = results
        self._sent: OrderedDict[Subject, _Remembered] = OrderedDict()

    async def submit(self, submissions: Sequence[Submission], *, seconds: float) -> list[Found]:
        """Send what has not been sent, and wait for the answers to all of it.

        Args:
            submissions: of different subjects.
            seconds: longest wait for the answers; the confirmation of the brokers is waited for in any case.

        Raises:
            ProblemError: an id stands for something else (nothing is sent then), or Kafka does not confirm.
        """
        for submission in submissions:
            self._check_same(submission)
        deadline = asyncio.get_running_loop().time() + seconds
        with ExitStack() as stack:
            answers = [self._awaited(stack, each.subject, each.question) for each in submissions]
            new = [
                each
                for each, (listing, _) in zip(submissions, answers, strict=True)
                if not self.is_pending(each.subject) and _result(listing) is None
            ]
            if new:
                await self._sender.send([each.letter for each in new])
                self._remember(new)
            found = await _settled(answers, deadline)
        for submission, (listing_found, _) in zip(submissions, found, strict=True):
            _check_product(submission, listing_found)
        return found

    async def find(self, subject: Subject, *, seconds: float) -> Found:
        """What came for a subject, and for the question that its listing asked; waits for it for so long."""
        sent = self._sent.get(subject)
        question = sent.question if sent else None
        if question is None and subject.kind is Kind.LISTING:
            asked = Subject(Kind.QUESTION, explanation_request_id(subject.identifier))
            question = asked if self._results.get(asked) else None
        deadline = asyncio.get_running_loop().time() + seconds
        with ExitStack() as stack:
            return (await _settled([self._awaited(stack, subject, question)], deadline))[0]

    def answered(self, subject: Subject) -> None:
        """Note that a result has come: should it not be kept, what it answers may be sent again."""
        sent = self._sent.get(subject)
        if sent is not None:
            self._sent[subject] = sent._replace(is_answered=True)

    def is_pending(self, subject: Subject) -> bool:
        """Whether it was sent from here, and nothing has come of it."""
        sent = self._sent.get(subject)
        return sent is not None and not sent.is_answered

    def asks_to_be_explained(self, subject: Subject) -> bool:
        """Whether a listing that was sent from here asks to be explained."""
        sent = self._sent.get(subject)
        return sent is not None and sent.question is not None

    def _awaited(self, stack: ExitStack, subject: Subject, question: Subject | None) -> _Awaited:
        listing = stack.enter_context(self._results.awaited(subject))
        return _Awaited(listing, stack.enter_context(self._results.awaited(question)) if question else None)

    def _check_same(self, submission: Submission) -> None:
        sent = self._sent.get(submission.subject)
        if sent is not None and sent.digest != submission.digest:
            raise _conflict(submission.subject)
        _check_product(submission, self._results.get(submission.subject))

    def _remember(self, submissions: Iterable[Submission]) -> None:
        for each in submissions:
            is_answered = self._results.get(each.subject) is not None
            self._sent[each.subject] = _Remembered(each.digest, each.question, is_answered)
        while len(self._sent) > MAX_REMEMBERED:
            self._sent.popitem(last=False)


class _Remembered(NamedTuple):
    digest: bytes
    question: Subject | None
    is_answered: bool


class _Awaited(NamedTuple):
    listing: asyncio.Future[Result]
    question: asyncio.Future[Result] | None


def _check_product(submission: Submission, result: Result | None) -> None:
    """Nobody gets the result of a product that he did not send, whatever ids two clients choose."""
    if result and result.product_id and submission.product_id not in (None, result.product_id):
        raise _conflict(submission.subject)


def _conflict(subject: Subject) -> ProblemError:
    name = "event_id" if subject.kind is Kind.LISTING else "request_id"
    return ProblemError(
        409,
        "conflict",
        f"{name} {subject.identifier[:80]!r} was sent with other content before; send it as it was, or under"
        " another id",
    )


async def _settled(answers: Sequence[_Awaited], deadline: float) -> list[Found]:
    """Wait until every answer is there, or the deadline; what is not there is None."""
    await _wait({each.listing for each in answers}, deadline)
    # An explanation only comes for what was classified.
    await _wait({each.question for each in answers if each.question and _is_assigned(each.listing)}, deadline)
    return [Found(_result(each.listing), _result(each.question)) for each in answers]


async def _wait(futures: set[asyncio.Future[Result]], deadline: float) -> None:
    if futures:  # of none, asyncio.wait makes an error
        await asyncio.wait(futures, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))


def _is_assigned(future: asyncio.Future[Result]) -> bool:
    found = _result(future)
    return found is not None and not isinstance(found.outcome, Failure)


def _result(future: asyncio.Future[Result] | None) -> Result | None:
    return future.result() if future is not None and future.done() and not future.cancelled() else None
