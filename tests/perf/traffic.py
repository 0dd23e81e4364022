"""Listings to measure with: texts of the sample catalogue, inline pictures of a wished size."""

import base64
import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from schemas.catalogue import read_catalogue
from tests.pictures import jpeg_segment, with_segments
from training.samples import write_sample_catalogue

NUM_TEXTS = 600
NUM_PICTURES = 32
SIDE_PX = 500
DETAIL_15KB, DETAIL_150KB = 8, 500

Body = dict[str, object]
Sent = tuple[bytes, bytes]


class Traffic:
    """Listings of one kind, each with a number of its own in its text: what a worker remembers is no help."""

    def __init__(self, kind: str) -> None:
        self._picture = KINDS[kind]
        self._numbers = count()

    def take(self, num_listings: int) -> list[Sent]:
        """The next listings as (key, value)."""
        return [self._listing(next(self._numbers)) for _ in range(num_listings)]

    def _listing(self, number: int) -> Sent:
        texts = sample_texts()
        title, description = texts[number % len(texts)]
        body: Body = {
            "event_id": f"e-{number}",
            "product_id": str(number),
            "title": f"{title} {number}",
            "description": description,
        }
        picture = self._picture(number)
        if picture is not None:
            body["image"] = {"data": picture}
        return str(number).encode(), json.dumps(body, ensure_ascii=False).encode()


@cache
def sample_texts() -> list[tuple[str, str]]:
    """Title and description of the products of the sample catalogue."""
    with tempfile.TemporaryDirectory() as folder:
        rows = read_catalogue(write_sample_catalogue(Path(folder), NUM_TEXTS))
        return [(row.title, row.description) for row in rows]


@cache
def pictures(detail: int) -> list[bytes]:
    """JPEG files of different pictures."""
    return [_jpeg(seed, detail) for seed in range(NUM_PICTURES)]


def _jpeg(seed: int, detail: int) -> bytes:
    """Noise of ``detail`` x ``detail`` pixels, enlarged: the more detail, the larger the file."""
    noise = np.random.default_rng(seed).integers(0, 256, (detail, detail, 3), np.uint8)
    image = Image.fromarray(noise).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75)
    return file.getvalue()


def _pictured(detail: int, number: int) -> str:
    """In base64; a comment makes every file differ, so that nobody can remember what it shows."""
    comment = jpeg_segment(0xFE, str(number).encode())
    return base64.b64encode(with_segments(pictures(detail)[number % NUM_PICTURES], comment)).decode()


def _mixed(number: int) -> str | None:
    """Of eight listings four have no picture, three a small one, one a large one."""
    place = number % 8
    if place % 2 == 0:
        return None
    return _pictured(DETAIL_150KB if place == 7 else DETAIL_15KB, number)


KINDS: dict[str, Callable[[int], str | None]] = {
    "text": lambda _: None,
    "picture-15kb": lambda number: _pictured(DETAIL_15KB, number),
    "picture-150kb": lambda number: _pictured(DETAIL_150KB, number),
    "mixed": _mixed,
}
