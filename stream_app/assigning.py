"""From scores to category-assigned messages."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from models.inputs import PreparedBatch
from models.labels import Code, LabelSet
from schemas.assignments import (
    CategoryAssigned,
    ImageUse,
    Modalities,
    TextUse,
    assignment_id,
)
from schemas.cloudevents import output_headers
from schemas.codec import encode
from schemas.explanations import ExplanationRequested, explanation_request_id
from stream_app.acknowledgement import TopicPartition
from stream_app.publishing import Outgoing
from stream_app.stages import Listing, Scored
from stream_app.tracing import NO_SPANS, Tracing

LISTING_PLACE_HEADER = "shelver.listing"
"""`topic-partition-offset` of the listing that a request of ours is about."""

NUM_ALTERNATIVES = 5
"""The next most probable categories told beside the assigned one."""

_MESSAGES: Final = TypeAdapter(list[CategoryAssigned])
_MODALITIES: Final = {
    (text, image): Modalities(text=text, image=image) for text in TextUse for image in ImageUse
}

_Category = dict[str, Code | float]


def assignments(scored: Scored, assigned_at: datetime) -> list[CategoryAssigned]:
    """The messages of a scored batch, row for row."""
    if scored.scores is None or scored.inputs is None:
        return []
    # One call for all: validated one by one, messages take twice as long.
    return _MESSAGES.validate_python(
        [
            {
                "assignment_id": assignment_id(product.event_id, scored.model.name, scored.model.version),
                "event_id": product.event_id,
                "product_id": product.product_id,
                "category": categories[0],
                "alternatives": categories[1:],
                "modalities": modalities,
                "image_reason": image_reason,
                "model": scored.model,
                "source": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
                "assigned_at": assigned_at,
            }
            for (record, product), categories, modalities, image_reason in zip(
                ((listing.record, listing.product) for listing in scored.listings),
                _most_probable(scored.scores.probabilities_BC, scored.labels),
                _modalities(scored.listings, scored.inputs),
                scored.inputs.image_reasons,
                strict=True,
            )
        ]
    )


def outgoing(scored: Scored, *, topic: str, source: str, tracing: Tracing = NO_SPANS) -> list[Outgoing]:
    """The records to write for a scored batch.

    Args:
        scored: the batch.
        topic: where they go.
        source: the CloudEvents source, who we are.
        tracing: how the traces of listings go on in them.
    """
    messages = assignments(scored, datetime.now(UTC))
    return [
        Outgoing(
            topic,
            message.product_id.encode(),
            encode(message),
            [*output_headers(message, source=source), *tracing.headers(listing.record, topic)],
            TopicPartition(listing.record.topic, listing.record.partition),
        )
        for listing, message in zip(scored.listings, messages, strict=True)
    ]


def explanation_requests(
    scored: Scored, *, topic: str, source: str, tracing: Tracing = NO_SPANS
) -> list[Outgoing]:
    """The requests to write for the listings of a scored batch that ask to be explained.

    A request names the event, and in a header where its listing stands: that is read again when it is
    explained, so pictures are not sent twice.
    """
    return [
        _explanation_request(listing, topic, source, tracing)
        for listing in scored.listings
        if listing.product.explain
    ]


def _explanation_request(listing: Listing, topic: str, source: str, tracing: Tracing) -> Outgoing:
    record, product = listing.record, listing.product
    message = ExplanationRequested(
        request_id=explanation_request_id(product.event_id), event_id=product.event_id
    )
    place = f"{record.topic}-{record.partition}-{record.offset}".encode()
    return Outgoing(
        topic,
        product.product_id.encode(),
        encode(message),
        [
            *output_headers(message, source=source),
            (LISTING_PLACE_HEADER, place),
            *tracing.headers(record, topic),
        ],
        TopicPartition(record.topic, record.partition),
    )


def _most_probable(probabilities: NDArray[np.float32], labels: LabelSet) -> Iterator[list[_Category]]:
    """The most probable categories of each row, best first; ties go to the lower index."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : NUM_ALTERNATIVES + 1]
    probability = np.minimum(np.take_along_axis(probabilities, best, axis=1), 1.0)
    for columns, row in zip(best.tolist(), probability.tolist(), strict=True):
        yield [
            {"code": labels.codes[column], "label": labels.names[column], "probability": chance}
            for column, chance in zip(columns, row, strict=True)
        ]


def _modalities(listings: Sequence[Listing], inputs: PreparedBatch) -> Iterator[Modalities]:
    rows = zip(
        inputs.text_present_B.tolist(),
        inputs.text_truncated_B.tolist(),
        inputs.image_present_B.tolist(),
        inputs.image_reasons,
        (listing.picture_skipped for listing in listings),
        strict=True,
    )
    for has_text, is_truncated, has_image, image_reason, is_skipped in rows:
        text = TextUse.ABSENT
        if has_text:
            text = TextUse.TRUNCATED if is_truncated else TextUse.USED
        image = ImageUse.ABSENT
        if has_image:
            image = ImageUse.USED
        elif image_reason is not None:
            image = ImageUse.UNAVAILABLE
        elif is_skipped:
            image = ImageUse.SKIPPED
        yield _MODALITIES[text, image]
