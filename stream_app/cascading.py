"""The cascade: of listings whose text alone is certain, nobody fetches, decodes or computes the picture."""

from dataclasses import replace

from models.cascade import Cascade
from stream_app.stages import Decoded, Listing, Scored

__all__ = ["texts_of", "without_certain_pictures"]


def texts_of(decoded: Decoded) -> Decoded:
    """The listings of a batch that may skip their picture, without it.

    Those are the ones with a picture, but for those that ask to be explained: an explanation is of text and
    picture, and has to be of the category that was assigned.
    """
    return Decoded(
        [
            Listing(listing.record, listing.product.model_copy(update={"image": None}), picture_skipped=True)
            for listing in decoded.listings
            if listing.product.image is not None and not listing.product.explain
        ]
    )


def without_certain_pictures(decoded: Decoded, texts: Scored, cascade: Cascade) -> Decoded:
    """A batch in which listings whose text is certain have no picture left.

    Args:
        decoded: the batch.
        texts: its `texts_of`, scored; what is missing there is not certain.
        cascade: of the version that scored them.
    """
    if texts.scores is None:
        return decoded
    is_certain = cascade.is_certain(texts.scores.probabilities_BC).tolist()
    skipped = {
        listing.place: listing for listing, certain in zip(texts.listings, is_certain, strict=True) if certain
    }
    return replace(decoded, listings=[skipped.get(each.place, each) for each in decoded.listings])
