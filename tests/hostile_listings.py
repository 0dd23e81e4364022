"""Records of a producer that means harm, or is merely broken: seeded, so that a run can be repeated."""

import base64
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.pictures import BOMBS, UNUSABLE, USABLE
from tests.strategies import MARKUP, WRONG_DOCUMENTS

__all__ = ["Sent", "hostile_records"]

Sent = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""Key, value and headers of a record."""

LARGEST_INLINE_BYTES = 20_000
RARE_BOMBS = ("25 megapixels in 38 bytes", "25 megapixels with transparency")
"""Those that take a quarter of a second each."""

ADDRESSES = (
    "http://shop.example/1.jpg",
    "https://127.0.0.1/1.jpg",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://[::ffff:169.254.169.254]/latest/meta-data",
    "https://[64:ff9b::a00:1]/",
    "https://[2002:7f00:1::]/",
    "https://100.64.0.1/",
    "https://224.0.0.1/",
    "https://user:secret@shop.example/",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "https://[::1",
    "https://a[b]@",
    "https://shop.example:99999/",
    "//shop.example/1.jpg",
    "\u0000",
    "https://" + "a" * 9_000,
)
HEADERS: tuple[tuple[str, bytes | None], ...] = (
    ("ce_id", None),
    ("ce_id", b"\xff"),
    ("ce_time", b"1764057600000"),
    ("ce_time", b"yesterday"),
    ("content-type", b"application/cloudevents+json"),
    ("content-type", b"text/html"),
    ("shelver.attempts", b"-1"),
    ("trace", b"\x00\xff"),
)


def hostile_records(num_records: int, seed: int) -> Iterator[Sent]:
    """So many records, each of a kind drawn by the seed; about half of them are good."""
    random = Random(seed)  # noqa: S311 - no secret
    pictures = _pictures()
    bombs = {name: BOMBS[name]() for name in RARE_BOMBS}
    kinds: tuple[tuple[int, Callable[[int], bytes | None]], ...] = (
        (35, _body),
        (15, lambda number: _damaged(random, _body(number))),
        (8, lambda _: _wrong_document(random)),
        (15, lambda number: _body(number, title=_text(random, 14), description=_text(random, 60))),
        (2, lambda number: _body(number, description=_long_text(random))),
        (12, lambda number: _body(number, image={"data": _inline(random, random.choice(pictures))})),
        (8, lambda number: _body(number, image={"url": random.choice(ADDRESSES)})),
        (4, lambda _: None),
        (1, lambda _: random.randbytes(random.randrange(2_000))),
    )
    weights = [weight for weight, _ in kinds]
    for number in range(num_records):
        if number % 500 == 250:
            name = RARE_BOMBS[number // 500 % len(RARE_BOMBS)]
            value: bytes | None = _body(number, image={"data": base64.b64encode(bombs[name]).decode()})
        else:
            value = random.choices(kinds, weights)[0][1](number)
        keys = (b"", b"\xff", str(number % 50).encode())
        key = random.choice(keys if value is None else (None, *keys))  # aiokafka wants one of the two
        headers = random.sample(HEADERS, random.randrange(3)) if random.random() < 0.2 else []
        yield key, value, headers


def _pictures() -> list[bytes]:
    files = [data for data, _ in (*USABLE.values(), *UNUSABLE.values())]
    files += [build() for name, build in BOMBS.items() if name not in RARE_BOMBS]
    return [data for data in files if len(data) <= LARGEST_INLINE_BYTES]


def _body(number: int, **fields: Any) -> bytes:
    body = {"event_id": f"h-{number}", "product_id": number, "title": f"Lampe n° {number}", **fields}
    return json.dumps(body).encode()


def _damaged(random: Random, value: bytes) -> bytes:
    start = random.randrange(len(value))
    end = min(len(value), start + random.randrange(6))
    return value[:start] + random.randbytes(random.randrange(4)) + value[end:]


def _wrong_document(random: Random) -> bytes:
    text = random.choice(WRONG_DOCUMENTS)
    encoding = random.choice(("utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-be", "utf-32"))
    framing = b"\0\0\0\0\7" if random.random() < 0.2 else b""
    return framing + text.encode(encoding, errors="replace")


def _text(random: Random, num_pieces: int) -> str:
    return "".join(random.choices((*MARKUP, "robot ", "piscine ", "lampe "), k=random.randrange(num_pieces)))


def _long_text(random: Random) -> str:
    return (
        random.choice(("<div><table>", "&", "&amp;", "<!--", "\U0001f600", "e\u0301", "data:a/b;")) * 10_000
    )


def _inline(random: Random, picture: bytes) -> str:
    text = base64.b64encode(picture).decode()
    return text if random.random() < 0.8 else text[: random.randrange(len(text) + 1)] + random.choice("!=A ")
