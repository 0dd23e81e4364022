"""What producers send, and what they should not: Hypothesis strategies for messages, bodies and bytes."""

import json
from datetime import UTC, datetime, timedelta, timezone
from math import fsum
from typing import Any

from hypothesis import strategies as st

from schemas.assignments import (
    AssignedCategory,
    CategoryAssigned,
    ImageUse,
    Modalities,
    ModelReference,
    SourceReference,
    TextUse,
)
from schemas.corrections import CategoryCorrected, CorrectCategory
from schemas.dead_letters import DeadLetter, Failure, Reason, Stage, build_dead_letter
from schemas.explanations import (
    CategoryExplained,
    CategoryReference,
    Explanation,
    ExplanationMethod,
    ExplanationRequested,
    Frame,
    ImageAttribution,
    ModalityAttribution,
    TextAttribution,
    TextField,
)
from schemas.products import ImageReference, ProductListed

CONTROL_CHARACTERS = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
SURROGATES = "".join(map(chr, [0xD800, 0xD83D, 0xDBFF, 0xDC00, 0xDE00, 0xDFFF]))
HEADER_NAMES = (
    "ce_id",
    "ce_time",
    "ce_type",
    "ce-id",
    "content-type",
    "Content-Type",
    "__value_schema_id",
    "b",
)
FIELD_NAMES = (
    "event_id",
    "product_id",
    "productid",
    "imageid",
    "title",
    "designation",
    "description",
    "image",
    "url",
    "data",
    "data_base64",
    "listed_at",
    "explain",
    "specversion",
    "id",
    "time",
    "request_id",
    "product",
    "categories",
    "max_evaluations",
    "correction_id",
    "category",
    "code",
)


MARKUP = [
    "&",
    "&amp;",
    "&amp;amp;",
    "&amp;amp;amp;lt;",
    "&lt;",
    "&gt;",
    "&eacute",
    "&copy2024",
    "&#8203;",
    "&#0;",
    "&#xD800;",
    "&#x202e",
    "&notit;",
    "<",
    ">",
    "<b>",
    "</b>",
    "<br",
    "<img src='a>b'>",
    "<!--",
    "-->",
    "<!doctype html>",
    "<script>",
    "</script >",
    "<STYLE a=1>",
    "</style>",
    "data:image/png;base64,QUJD",
    "data:a/b",
    "DATA:",
    ";",
    ",",
    "\uff1cb\uff1e",
    "\uff06lt;",
    "\ufe64",
    "\x00",
    "\u202e",
    "\u200b",
    "\ud83d",
    "\U0001f600",
    "e\u0301",
    "É",
    "İ",
    "ΑΣ",
    "ﬁ",
    "\ufdfa",
    "한",
    " ",
    "\n",
    "\xa0",
    "\x1f",
    "_",
    "1",
]


def identifiers() -> st.SearchStrategy[str]:
    """Text that is fit to identify something."""
    visible = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffd")
    return st.text(visible, min_size=1, max_size=40).filter(lambda text: not text.isspace())


def instants() -> st.SearchStrategy[datetime]:
    """Points in time with any whole-minute offset."""
    offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=offsets | st.just(UTC))  # noqa: DTZ001 (aware by timezones=)


def image_references() -> st.SearchStrategy[ImageReference]:
    """A picture by address or in the message."""
    return st.text(max_size=60).map(lambda url: ImageReference(url=url)) | st.text(max_size=200).map(
        lambda data: ImageReference(data=data)
    )


def products() -> st.SearchStrategy[ProductListed]:
    """Any valid listing."""
    return st.builds(
        ProductListed,
        event_id=identifiers(),
        product_id=identifiers(),
        title=st.text(max_size=80),
        description=st.none() | st.text(max_size=300),
        image=st.none() | image_references(),
        listed_at=st.none() | instants(),
        explain=st.booleans(),
    )


def category_codes() -> st.SearchStrategy[int | str]:
    """Codes of label sets."""
    return st.integers() | st.text(max_size=12)


def requests() -> st.SearchStrategy[ExplanationRequested]:
    """Any valid request for an explanation."""
    rest = {
        "request_id": identifiers(),
        "categories": st.none() | st.lists(category_codes(), max_size=4).map(tuple),
        "max_evaluations": st.none() | st.integers(1, 10**6),
    }
    return st.builds(
        ExplanationRequested, product=products(), event_id=st.none() | identifiers(), **rest
    ) | st.builds(ExplanationRequested, event_id=identifiers(), **rest)


def corrections() -> st.SearchStrategy[CategoryCorrected]:
    """Any valid correction."""
    return st.builds(
        CategoryCorrected,
        correction_id=identifiers(),
        product_id=identifiers(),
        category=st.builds(CorrectCategory, code=category_codes(), label=st.none() | st.text(max_size=9)),
        event_id=st.none() | identifiers(),
        assignment_id=st.none() | identifiers(),
        corrected_by=st.none() | st.text(max_size=9),
        comment=st.none() | st.text(max_size=9),
        corrected_at=st.none() | instants(),
    )


def model_references() -> st.SearchStrategy[ModelReference]:
    """Versions of models."""
    return st.builds(ModelReference, name=st.text(max_size=9), version=st.text(max_size=3))


def assignments() -> st.SearchStrategy[CategoryAssigned]:
    """Any category that can be published."""
    categories = st.builds(
        AssignedCategory, code=category_codes(), label=st.text(max_size=9), probability=st.floats(0, 1)
    )
    places = st.builds(
        SourceReference,
        topic=st.text(max_size=9),
        partition=st.integers(0, 2**31),
        offset=st.integers(0, 2**63),
    )
    return st.builds(
        CategoryAssigned,
        assignment_id=identifiers(),
        event_id=identifiers(),
        product_id=identifiers(),
        category=categories,
        alternatives=st.lists(categories, max_size=3).map(tuple),
        modalities=st.builds(Modalities, text=st.sampled_from(TextUse), image=st.sampled_from(ImageUse)),
        image_reason=st.none() | st.sampled_from(["timeout", "too_large"]),
        model=model_references(),
        source=st.none() | places,
        assigned_at=instants(),
    )


@st.composite
def explanations(draw: st.DrawFn) -> Explanation:
    """Any explanation that adds up."""
    logits = st.floats(-50, 50)
    words = draw(st.lists(st.tuples(st.sampled_from(TextField), st.text(max_size=5), logits), max_size=4))
    cells = draw(st.lists(logits, min_size=2, max_size=2) | st.just([]))
    base = draw(logits)
    frame = Frame(left=draw(logits), top=0, width=draw(st.floats(0.5, 900)), height=1)
    return Explanation(
        category=CategoryReference(code=draw(category_codes()), label=draw(st.text(max_size=9))),
        base_value=base,
        value=fsum([base, *cells, *(word[2] for word in words)]),
        text=tuple(
            TextAttribution(field=field, start=3, end=3 + len(text), text=text, attribution=value)
            for field, text, value in words
        ),
        image=ImageAttribution(
            grid=(1, 2),
            attributions=(tuple(cells),),
            width=draw(st.integers(1, 9_000)),
            height=7,
            frame=draw(st.none() | st.just(frame)),
        )
        if cells
        else None,
        by_modality=ModalityAttribution(text=fsum(word[2] for word in words), image=fsum(cells)),
    )


def answers() -> st.SearchStrategy[CategoryExplained]:
    """Any answer to a request that can be published."""
    return st.builds(
        CategoryExplained,
        explanation_id=identifiers(),
        request_id=identifiers(),
        event_id=identifiers(),
        product_id=identifiers(),
        model=model_references(),
        explanations=st.lists(explanations(), min_size=1, max_size=2).map(tuple),
        method=st.builds(
            ExplanationMethod,
            text=st.none() | st.text(max_size=9),
            image=st.none() | st.text(max_size=9),
            evaluations=st.integers(0, 10**6),
        ),
        additivity_error=st.floats(0, 1e-3),
        explained_at=instants(),
    )


def dead_letters() -> st.SearchStrategy[DeadLetter]:
    """Dead letters of any record, many of them cut."""
    failures = st.builds(
        Failure,
        stage=st.sampled_from(Stage),
        reason=st.sampled_from(Reason),
        message=st.text(),
        source=st.text(max_size=20),
        attempts=st.integers(1, 100),
    )
    values = st.none() | st.binary(max_size=20) | st.just(bytes(5_000))
    return st.builds(build_dead_letter, values, values, record_headers(), failures, max_bytes=st.just(4_096))


def json_values(max_leaves: int = 12) -> st.SearchStrategy[Any]:
    """Any JSON value; objects often have names that mean something to us."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(10**18, 10**30)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=20)
    )
    names = st.sampled_from(FIELD_NAMES) | st.text(max_size=6)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
        max_leaves=max_leaves,
    )


def listing_bodies() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects with the fields of a listing, under any of their names, mostly but not always valid."""
    ids = identifiers() | st.integers(0, 10**25) | st.none() | json_values(3)
    texts = st.text(max_size=60) | st.none() | json_values(3)
    images = st.fixed_dictionaries({}, optional={"url": texts, "data": texts}) | json_values(3)
    return st.fixed_dictionaries(
        {},
        optional={
            "event_id": ids,
            "product_id": ids,
            "productid": ids,
            "imageid": ids,
            "title": texts,
            "designation": texts,
            "description": texts,
            "image": images,
            "listed_at": st.none() | instants().map(datetime.isoformat) | json_values(3),
            "explain": st.booleans() | st.none() | json_values(3),
            "price": json_values(3),
        },
    )


def request_bodies() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects with the fields of a request for an explanation, mostly but not always valid."""
    ids = identifiers() | st.integers(0, 10**25) | st.none() | json_values(3)
    return st.fixed_dictionaries(
        {},
        optional={
            "request_id": ids,
            "product": st.none() | listing_bodies() | json_values(3),
            "event_id": ids,
            "categories": st.none() | st.lists(category_codes() | json_values(1), max_size=3),
            "max_evaluations": st.none() | st.integers(-1, 9) | json_values(1),
        },
    )


def correction_bodies() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects with the fields of a correction, mostly but not always valid."""
    ids = identifiers() | st.integers(0, 10**25) | st.none() | json_values(3)
    texts = st.text(max_size=60) | st.none() | json_values(3)
    codes = category_codes() | json_values(1)
    return st.fixed_dictionaries(
        {
            "product_id": ids,
            "category": st.fixed_dictionaries({"code": codes}, optional={"label": texts}) | json_values(3),
        },
        optional={
            "correction_id": ids,
            "event_id": ids,
            "assignment_id": ids,
            "corrected_by": texts,
            "comment": texts,
            "corrected_at": st.none() | instants().map(datetime.isoformat) | json_values(3),
        },
    )


def hostile_bytes() -> st.SearchStrategy[bytes]:
    """Values that are wrong in every way seen so far, and some that are right."""
    documents = (listing_bodies() | json_values()).map(json.dumps) | st.sampled_from(WRONG_DOCUMENTS)
    encoded = st.builds(
        lambda text, encoding: text.encode(encoding, errors="replace"),
        documents,
        st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32-be"]),
    )
    framed = st.builds(
        lambda schema_id, value: b"\0" + schema_id + value, st.binary(min_size=4, max_size=4), encoded
    )
    return st.binary(max_size=64) | encoded | framed | damaged(encoded)


def damaged(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Values cut short, with something put in between, or with bytes changed."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        value = bytearray(draw(values))
        if value and draw(st.booleans()):
            for place in draw(st.lists(st.integers(0, len(value) - 1), max_size=6)):
                value[place] = draw(st.integers(0, 255))
        start = draw(st.integers(0, len(value)))
        end = draw(st.integers(start, len(value)) | st.just(start))
        return bytes(value[:start]) + draw(st.binary(max_size=4)) + bytes(value[end:])

    return change()


def record_headers() -> st.SearchStrategy[list[tuple[str, bytes | None]]]:
    """Headers as Kafka allows them: repeated names, values missing or not text."""
    contents = (
        st.none()
        | st.binary(max_size=12)
        | st.sampled_from(
            [b"e-1", b"2026-11-25T08:00:00+01:00", b"1764057600000", b"application/cloudevents+json", b"\xff"]
        )
    )
    return st.lists(st.tuples(st.sampled_from(HEADER_NAMES) | st.text(max_size=8), contents), max_size=5)


WRONG_DOCUMENTS = (
    "",
    "null",
    "NaN",
    '{"product_id": NaN}',
    '{"product_id": 1, "price": -Infinity}',
    '{"product_id": 1e400}',
    '{"product_id": 1, "listed_at": 1e400}',
    '{"product_id": 1, "title": "\\ud83d"}',
    '{"product_id": "\\ud83d"}',
    '{"\\udc00": "\\\\\\ud83d\\ude00\\ude00", "product_id": 1}',
    '{"product_id": 1}\n{"product_id": 2}',
    '[{"product_id": 1}]',
    '"{\\"product_id\\": 1}"',
    "[" * 5000,
    '{"product_id": ' * 300 + "1" + "}" * 300,
    '{"product_id": ' + "7" * 5000 + "}",
    '{"specversion": "1.0", "data": {"product_id": 1}}',
    '{"specversion": "1.0", "data": "{}"}',
    '{"specversion": "1.0", "data_base64": "e30="}',
    '{"specversion": "1.0", "data_base64": 7}',
    '{"product_id": 1, "listed_at": "9999-12-31T23:59:59-23:59"}',
    '{"product_id": 1, "listed_at": "0001-01-01T00:00:00+23:59"}',
)


def hostile_texts() -> st.SearchStrategy[str]:
    """Markup that is broken, doubled and cut, among any code points."""
    anything = st.text(st.characters(exclude_categories=[]), max_size=8)
    return st.lists(st.sampled_from(MARKUP) | anything, max_size=14).map("".join)
