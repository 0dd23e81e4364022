"""From an error to a dead letter: the one table of exception classes, stages and reasons."""

from collections.abc import Iterable

from models import errors as model_errors
from schemas import errors as message_errors
from schemas.dead_letters import Failure, Reason, Stage, attempts_told, build_dead_letter, original_headers
from stream_app.acknowledgement import TopicPartition
from stream_app.publishing import Outgoing
from stream_app.stages import Rejected, origin

MAX_DEAD_LETTER_BYTES = 900_000
"""Below Kafka's default ``message.max.bytes`` (1 MiB), so that a dead letter is never refused."""

FAILURES: dict[type[Exception], tuple[Stage, Reason]] = {
    message_errors.MalformedError: (Stage.DECODE, Reason.MALFORMED),
    message_errors.FramingError: (Stage.DECODE, Reason.SCHEMA_REGISTRY_FRAMING),
    message_errors.MessageTooLargeError: (Stage.DECODE, Reason.TOO_LARGE),
    message_errors.UnreadableBatchError: (Stage.DECODE, Reason.UNREADABLE_BATCH),
    message_errors.InvalidMessageError: (Stage.VALIDATE, Reason.INVALID),
    message_errors.EmptyListingError: (Stage.PREPARE, Reason.EMPTY_LISTING),
    message_errors.UnknownEventError: (Stage.PREPARE, Reason.UNKNOWN_EVENT),
    message_errors.UnknownCategoryError: (Stage.PREPARE, Reason.UNKNOWN_CATEGORY),
    model_errors.NonFiniteScoresError: (Stage.INFERENCE, Reason.NON_FINITE_SCORES),
}
"""What an error of one event becomes; dead letters, metric labels and the README follow it."""

UNEXPECTED: dict[Stage, Reason] = {
    Stage.DECODE: Reason.PREPARATION_ERROR,
    Stage.VALIDATE: Reason.PREPARATION_ERROR,
    Stage.PREPARE: Reason.PREPARATION_ERROR,
    Stage.INFERENCE: Reason.MODEL_ERROR,
    Stage.PUBLISH: Reason.OUTPUT_TOO_LARGE,
}
"""What an exception that nobody foresaw becomes, by the stage that raised it."""


def failure_of(rejected: Rejected) -> Failure:
    """Stage, reason and message for a rejected record; a replayed one counts its attempts on."""
    record, error = rejected.record, rejected.error
    stage, reason = FAILURES.get(type(error), (rejected.stage, UNEXPECTED[rejected.stage]))
    message = str(error) if type(error) in FAILURES else f"{type(error).__name__}: {error}"
    return Failure(stage, reason, message, origin(record), attempts=attempts_told(record.headers) + 1)


def dead_letters(rejected: Iterable[Rejected], *, topic: str, max_bytes: int) -> list[Outgoing]:
    """The dead letters of rejected records, each of at most so many bytes."""
    return [dead_letter(each, failure_of(each), topic=topic, max_bytes=max_bytes) for each in rejected]


def dead_letter(
    rejected: Rejected, failure: Failure, *, topic: str, max_bytes: int = MAX_DEAD_LETTER_BYTES
) -> Outgoing:
    """The record as it came, with headers that say what went wrong, for the dead-letter topic.

    Args:
        rejected: the record and its error.
        failure: of `failure_of`.
        topic: the dead-letter topic.
        max_bytes: what a batch may hold; a letter has at most this and at most `MAX_DEAD_LETTER_BYTES`.
    """
    record, limit = rejected.record, min(max_bytes, MAX_DEAD_LETTER_BYTES)
    letter = build_dead_letter(
        record.key, record.value, original_headers(record.headers), failure, max_bytes=limit
    )
    source = TopicPartition(record.topic, record.partition)
    return Outgoing(topic, letter.key, letter.value or b"", letter.headers, source)
