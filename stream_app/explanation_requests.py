"""From explanation-requested records to answers: decode, find the listing, explain; runs in threads."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pydantic import ValidationError

from models.errors import NonFiniteScoresError
from models.explain.product import ImageMethod, ProductExplainer, ProductExplanation
from models.inputs import Product
from schemas.assignments import ModelReference
from schemas.cloudevents import output_headers
from schemas.codec import encode
from schemas.dead_letters import Stage
from schemas.errors import EmptyListingError, MessageError, UnknownCategoryError
from schemas.explanations import CategoryExplained, ExplanationRequested
from schemas.products import ProductListed
from stream_app.acknowledgement import TopicPartition
from stream_app.assigning import LISTING_PLACE_HEADER
from stream_app.batching import Record
from stream_app.decoding import decode_each
from stream_app.explaining import ExplainedListing, category_explained
from stream_app.isolation import isolate
from stream_app.places import Place, read_place
from stream_app.preparing import Picture, product_of
from stream_app.publishing import Outgoing
from stream_app.recent_listings import listing_of
from stream_app.stages import Rejected
from stream_app.tracing import NO_SPANS, Tracing

DEFAULT_MAX_EVALUATIONS = 0
"""Exact values alone: the picture is explained by its cells."""


@dataclass(frozen=True, slots=True)
class Request:
    """A record, the question it holds, and the listing it is about."""

    record: Record
    question: ExplanationRequested
    listing: ProductListed


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions of a batch, in order, and the records that hold none."""

    asked: Sequence[tuple[Record, ExplanationRequested]]
    rejected: Sequence[Rejected]

    def events(self, listed_topic: str) -> dict[str, Place | None]:
        """Events whose listings have to be found, and where they stand, as far as a request tells."""
        return {
            question.event_id: _place_in(record, listed_topic)
            for record, question in self.asked
            if question.product is None and question.event_id is not None
        }


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers with the records that asked, the records that get none, and how many were computed."""

    answers: Sequence[tuple[Record, CategoryExplained]]
    rejected: Sequence[Rejected]
    num_computed: int


def decode_questions(records: Iterable[Record], *, max_bytes: int) -> Questions:
    """Read every record; a tombstone asks nothing."""
    messages = decode_each(ExplanationRequested, records, max_bytes=max_bytes)
    return Questions(messages.read, messages.rejected)


def with_listings(
    questions: Questions, found: Mapping[str, Record], *, max_bytes: int
) -> tuple[list[Request], list[Rejected]]:
    """Put each question beside its listing; one whose event is unknown is rejected."""
    requests, rejected = [], list(questions.rejected)
    for record, question in questions.asked:
        try:
            listing = question.product or listing_of(question.event_id or "", found, max_bytes=max_bytes)
        except MessageError as error:
            rejected.append(Rejected(record, error, Stage.PREPARE, question.event_id))
        else:
            requests.append(Request(record, question, listing))
    return requests, rejected


def _place_in(record: Record, listed_topic: str) -> Place | None:
    """The place that the service itself has put into a header; others may not point anywhere else."""
    place = read_place((dict(record.headers).get(LISTING_PLACE_HEADER) or b"").decode(errors="replace"))
    return place if place is not None and place[0] == listed_topic else None


def answer(
    requests: Sequence[Request],
    rejected: Sequence[Rejected],
    explainer: ProductExplainer,
    pictures: Mapping[str, Picture],
    *,
    max_evaluations: int,
    goes_on: Callable[[], None] = lambda: None,
) -> Answered:
    """Explain the products of a batch; those that are asked for twice are explained once.

    Args:
        requests: with their listings.
        rejected: before.
        explainer: of the version that serves.
        pictures: by address, the bytes fetched or the reason there are none.
        max_evaluations: most that one request may wish for.
        goes_on: called after each part of the work.
    """
    out = list(rejected)
    wanted: dict[_Question, list[Request]] = {}
    for request in requests:
        try:
            wanted.setdefault(_question(request, explainer, pictures, max_evaluations), []).append(request)
        except MessageError as error:
            out.append(_rejected(request, error, Stage.PREPARE))
    answers: list[tuple[Record, CategoryExplained]] = []
    for budget, group in _parts_of_work(wanted):
        done, failed = isolate(partial(_explain, explainer, budget), group)
        goes_on()
        for question, fault in failed:
            out += [_rejected(request, fault, Stage.INFERENCE) for request in wanted[question]]
        for part, explanations in done:
            for question, explanation in zip(part, explanations, strict=True):
                for request in wanted[question]:
                    _add_answer(request, explanation, explainer, answers, out)
    return Answered(answers, out, len(wanted))


def _rejected(request: Request, error: Exception, stage: Stage) -> Rejected:
    return Rejected(request.record, error, stage, request.listing.event_id)


@dataclass(frozen=True, slots=True)
class _Question:
    """What two requests must have in common to share an explanation."""

    product: Product
    columns: tuple[int, ...] | None
    max_evaluations: int


def _parts_of_work(questions: Iterable[_Question]) -> Iterator[tuple[int, list[_Question]]]:
    """Exact explanations all at once, those by evaluations, which take seconds, one by one."""
    exact = [question for question in questions if question.max_evaluations == DEFAULT_MAX_EVALUATIONS]
    yield DEFAULT_MAX_EVALUATIONS, exact
    for question in questions:
        if question.max_evaluations != DEFAULT_MAX_EVALUATIONS:
            yield question.max_evaluations, [question]


def _question(
    request: Request, explainer: ProductExplainer, pictures: Mapping[str, Picture], max_evaluations: int
) -> _Question:
    labels = explainer.classifier.labels
    columns = None
    if request.question.categories is not None:
        columns = tuple(labels.indices([str(code) for code in request.question.categories]).tolist())
        if -1 in columns:
            code = request.question.categories[columns.index(-1)]
            raise UnknownCategoryError(
                f"category {str(code)[:40]!r} is unknown to {explainer.classifier.name}@"
                f"{explainer.classifier.version}"
            )
    product = product_of(request.listing, pictures)
    budget = min(request.question.max_evaluations or DEFAULT_MAX_EVALUATIONS, max_evaluations)
    return _Question(product, columns, budget)


def _explain(
    explainer: ProductExplainer, budget: int, questions: Sequence[_Question]
) -> list[ProductExplanation]:
    exact = budget == DEFAULT_MAX_EVALUATIONS
    return explainer.explain(
        [question.product for question in questions],
        [question.columns for question in questions],
        image_method=ImageMethod.CELLS if exact else ImageMethod.PIXELS,
        **({} if exact else {"max_evaluations": budget}),
    )


def _add_answer(
    request: Request,
    explanation: ProductExplanation,
    explainer: ProductExplainer,
    answers: list[tuple[Record, CategoryExplained]],
    rejected: list[Rejected],
) -> None:
    listing = request.listing
    if explanation.text_method is None and explanation.image_method is None:
        error: Exception = EmptyListingError("nothing to explain: there is no text and no usable picture")
        rejected.append(_rejected(request, error, Stage.PREPARE))
        return
    classifier = explainer.classifier
    try:
        found = category_explained(
            ExplainedListing(
                request.question.request_id,
                listing.event_id,
                listing.product_id,
                listing.title,
                listing.description or "",
            ),
            explanation,
            classifier.labels,
            ModelReference(name=classifier.name, version=classifier.version),
            datetime.now(UTC),
        )
    except ValidationError as fault:
        error = NonFiniteScoresError(f"the explanation does not add up: {fault.errors()[0]['msg']}")
        rejected.append(_rejected(request, error, Stage.INFERENCE))
    else:
        answers.append((request.record, found))


def outgoing_answers(
    answered: Answered, *, topic: str, source: str, max_bytes: int, tracing: Tracing = NO_SPANS
) -> tuple[list[Outgoing], list[Rejected]]:
    """The records to write; an answer that is too large for the brokers becomes a rejected request."""
    records, rejected = [], []
    for record, message in answered.answers:
        value = encode(message)
        if len(value) > max_bytes:
            error = ValueError(
                f"the answer has {len(value)} bytes, {max_bytes} are allowed; ask for fewer categories"
            )
            rejected.append(Rejected(record, error, Stage.PUBLISH, message.event_id))
            continue
        records.append(
            Outgoing(
                topic,
                message.product_id.encode(),
                value,
                [*output_headers(message, source=source), *tracing.headers(record, topic)],
                TopicPartition(record.topic, record.partition),
            )
        )
    return records, rejected
