"""From explanations of products to category-explained messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.explain.product import CategoryExplanation, ProductExplanation
from models.explain.words import WordSpan
from models.image.decoding import SquareOnPicture
from models.labels import LabelSet
from schemas.assignments import ModelReference
from schemas.explanations import (
    CategoryExplained,
    CategoryReference,
    Explanation,
    ExplanationMethod,
    Frame,
    ImageAttribution,
    ModalityAttribution,
    TextAttribution,
    TextField,
    explanation_id,
)


@dataclass(frozen=True, slots=True)
class ExplainedListing:
    """What an answer repeats of the question.

    Attributes:
        request_id: of the request.
        event_id: of the listing.
        product_id: of the product.
        title: as it was explained.
        description: as it was explained.
    """

    request_id: str
    event_id: str
    product_id: str
    title: str
    description: str


def category_explained(
    listing: ExplainedListing,
    found: ProductExplanation,
    labels: LabelSet,
    model: ModelReference,
    explained_at: datetime,
) -> CategoryExplained:
    """The answer to a request.

    Raises:
        pydantic.ValidationError: attributions do not add up, or are not finite.
    """
    return CategoryExplained(
        explanation_id=explanation_id(listing.request_id, model.name, model.version),
        request_id=listing.request_id,
        event_id=listing.event_id,
        product_id=listing.product_id,
        model=model,
        explanations=tuple(_explanation(listing, found, each, labels) for each in found.categories),
        method=ExplanationMethod(
            text=found.text_method, image=found.image_method, evaluations=found.num_evaluations
        ),
        additivity_error=found.additivity_error,
        explained_at=explained_at,
    )


def _explanation(
    listing: ExplainedListing, found: ProductExplanation, category: CategoryExplanation, labels: LabelSet
) -> Explanation:
    return Explanation(
        category=CategoryReference(code=labels.codes[category.column], label=labels.names[category.column]),
        base_value=category.base_value,
        value=category.value,
        text=_spans(listing, found.words, category.text_W.tolist()),
        image=_image(found.square, category),
        by_modality=ModalityAttribution(text=category.text_share, image=category.image_share),
    )


def _spans(
    listing: ExplainedListing, words: Sequence[WordSpan], values: Sequence[float]
) -> tuple[TextAttribution, ...]:
    fields = {"title": listing.title, "description": listing.description}
    return tuple(
        TextAttribution(
            field=TextField(word.field),
            start=word.start,
            end=word.end,
            text=fields[word.field][word.start : word.end],
            attribution=value,
        )
        for word, value in zip(words, values, strict=True)
    )


def _image(square: SquareOnPicture | None, category: CategoryExplanation) -> ImageAttribution | None:
    if square is None or category.image_RQ is None:
        return None
    rows, columns = category.image_RQ.shape
    return ImageAttribution(
        grid=(rows, columns),
        attributions=tuple(map(tuple, category.image_RQ.tolist())),
        width=square.picture_width,
        height=square.picture_height,
        frame=Frame(left=square.left, top=square.top, width=square.width, height=square.height),
    )
