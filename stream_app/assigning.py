"""From scores to category-assigned messages."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.inputs import PreparedBatch
from schemas.assignments import (
    AssignedCategory,
    CategoryAssigned,
    ImageUse,
    Modalities,
    SourceReference,
    TextUse,
    assignment_id,
)
from schemas.cloudevents import output_headers
from schemas.codec import encode
from schemas.explanations import ExplanationRequested, explanation_request_id
from stream_app.acknowledgement import TopicPartition
from stream_app.publishing import Outgoing
from stream_app.stages import Listing, Scored

LISTING_PLACE_HEADER = "shelver.listing"
"""`topic-partition-offset` of the listing that a request of ours is about."""

NUM_ALTERNATIVES = 5
"""The next most probable categories told beside the assigned one."""


def assignments(scored: Scored, assigned_at: datetime) -> Iterator[CategoryAssigned]:
    """The messages of a scored batch, row for row."""
    if scored.scores is None or scored.inputs is None:
        return
    best = _best(scored.scores.probabilities_BC)
    for row, listing in enumerate(scored.listings):
        categories = tuple(
            AssignedCategory(
                code=scored.labels.codes[category],
                label=scored.labels.label(category).name(),
                probability=min(1.0, float(scored.scores.probabilities_BC[row, category])),
            )
            for category in best[row].tolist()
        )
        record, product = listing.record, listing.product
        yield CategoryAssigned(
            assignment_id=assignment_id(product.event_id, scored.model.name, scored.model.version),
            event_id=product.event_id,
            product_id=product.product_id,
            category=categories[0],
            alternatives=categories[1:],
            modalities=_modalities(scored.inputs, row),
            image_reason=scored.inputs.image_reasons[row],
            model=scored.model,
            source=SourceReference(topic=record.topic, partition=record.partition, offset=record.offset),
            assigned_at=assigned_at,
        )


def outgoing(scored: Scored, *, topic: str, source: str) -> list[Outgoing]:
    """The records to write for a scored batch.

    Args:
        scored: the batch.
        topic: where they go.
        source: the CloudEvents source, who we are.
    """
    messages = assignments(scored, datetime.now(UTC))
    return [
        Outgoing(
            topic,
            message.product_id.encode(),
            encode(message),
            output_headers(message, source=source),
            TopicPartition(listing.record.topic, listing.record.partition),
        )
        for listing, message in zip(scored.listings, messages, strict=True)
    ]


def explanation_requests(scored: Scored, *, topic: str, source: str) -> list[Outgoing]:
    """The requests to write for the listings of a scored batch that ask to be explained.

    A request names the event, and in a header where its listing stands: that is read again when it is
    explained, so pictures are not sent twice.
    """
    return [
        _explanation_request(listing, topic, source) for listing in scored.listings if listing.product.explain
    ]


def _explanation_request(listing: Listing, topic: str, source: str) -> Outgoing:
    record, product = listing.record, listing.product
    message = ExplanationRequested(
        request_id=explanation_request_id(product.event_id), event_id=product.event_id
    )
    place = f"{record.topic}-{record.partition}-{record.offset}".encode()
    return Outgoing(
        topic,
        product.product_id.encode(),
        encode(message),
        [*output_headers(message, source=source), (LISTING_PLACE_HEADER, place)],
        TopicPartition(record.topic, record.partition),
    )


def _best(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices of the most probable categories, best first; ties go to the lower index."""
    return np.argsort(-probabilities, axis=1, kind="stable")[:, : NUM_ALTERNATIVES + 1]


def _modalities(inputs: PreparedBatch, row: int) -> Modalities:
    text = TextUse.ABSENT
    if inputs.text.present_B[row]:
        text = TextUse.TRUNCATED if inputs.text.truncated_B[row] else TextUse.USED
    image = ImageUse.ABSENT
    if inputs.image_present_B[row]:
        image = ImageUse.USED
    elif inputs.image_reasons[row] is not None:
        image = ImageUse.UNAVAILABLE
    return Modalities(text=text, image=image)
