"""From records to what the network takes: decode, find pictures, prepare; runs in threads, off the loop."""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol

from models.errors import ImageReason
from models.inputs import PreparedBatch, Product
from schemas.codec import decode
from schemas.dead_letters import Stage
from schemas.errors import EmptyListingError, MessageError
from schemas.products import ProductListed
from stream_app.batching import Record
from stream_app.isolation import isolate
from stream_app.stages import Decoded, Listing, Prepared, Rejected, origin

Picture = bytes | ImageReason


class PreparesProducts(Protocol):
    """The part of a loaded model version that preparation needs."""

    def prepare_to_score(
        self, products: Sequence[Product], executor: Executor | None = None
    ) -> PreparedBatch:
        """Turn products into network inputs, row for row; scores are all they are good for."""


def decode_records(records: Iterable[Record], *, max_bytes: int) -> Decoded:
    """Read every record: a listing, a delisting (tombstone), or one to reject with its error."""
    listings: list[Listing] = []
    rejected: list[Rejected] = []
    num_delistings = 0
    for record in records:
        if record.value is None:
            num_delistings += 1
            continue
        try:
            listings.append(Listing(record, _decode(record, record.value, max_bytes)))
        except MessageError as error:
            rejected.append(Rejected(record, error, Stage.DECODE))
    return Decoded(listings, rejected, num_delistings)


def picture_urls(decoded: Decoded) -> set[str]:
    """The addresses of pictures that have to be fetched before the batch can be prepared."""
    images = (listing.product.image for listing in decoded.listings)
    return {image.url for image in images if image is not None and image.url is not None}


def prepare_listings(
    decoded: Decoded,
    model: PreparesProducts,
    pictures: Mapping[str, Picture],
    executor: Executor | None = None,
) -> Prepared:
    """Prepare the listings of a batch; one that breaks preparation, or has nothing to classify, is rejected.

    Args:
        decoded: the batch.
        model: the version whose inputs are made.
        pictures: by address, the bytes fetched or the reason there are none.
        executor: threads to decode pictures in.
    """
    parts, failed = isolate(
        lambda listings: model.prepare_to_score(
            [product_of(each.product, pictures) for each in listings], executor
        ),
        decoded.listings,
    )
    rejected = [
        *decoded.rejected,
        *(
            Rejected(listing.record, error, Stage.PREPARE, listing.product.event_id)
            for listing, error in failed
        ),
    ]
    if not parts:
        return Prepared((), None, rejected)
    listings = [listing for part, _ in parts for listing in part]
    inputs = parts[0][1] if len(parts) == 1 else PreparedBatch.concatenate([inputs for _, inputs in parts])
    return _without_empty(listings, inputs, rejected)


def product_of(listed: ProductListed, pictures: Mapping[str, Picture]) -> Product:
    """What a model sees of a listing; a picture that cannot be had leaves its reason."""
    picture: Picture | None = None
    if listed.image is not None and listed.image.url is not None:
        picture = pictures.get(listed.image.url, ImageReason.UNAVAILABLE)
    elif listed.image is not None and listed.image.data is not None:
        picture = _from_base64(listed.image.data)
    description = listed.description or ""
    if isinstance(picture, ImageReason):
        return Product(listed.title, description, image_reason=picture)
    return Product(listed.title, description, image=picture)


def _decode(record: Record, value: bytes, max_bytes: int) -> ProductListed:
    return decode(ProductListed, value, record.headers, default_event_id=origin(record), max_bytes=max_bytes)


def _from_base64(data: str) -> Picture:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return ImageReason.INVALID_BASE64


def _without_empty(listings: Sequence[Listing], inputs: PreparedBatch, rejected: list[Rejected]) -> Prepared:
    usable = inputs.text_present_B | inputs.image_present_B
    if usable.all():
        return Prepared(listings, inputs, rejected)
    for row in (~usable).nonzero()[0].tolist():
        reason = inputs.image_reasons[row]
        picture = "no picture" if reason is None else f"its picture cannot be used ({reason})"
        message = (
            f"nothing to classify: no text is left after cleaning and {picture}; send a title or a picture"
        )
        listing, error = listings[row], EmptyListingError(message)
        rejected.append(Rejected(listing.record, error, Stage.PREPARE, listing.product.event_id))
    rows = usable.nonzero()[0].tolist()
    kept = [listings[row] for row in rows]
    return Prepared(kept, inputs.select(rows) if rows else None, rejected)
