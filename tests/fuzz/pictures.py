"""Fuzzes the way of a picture, from an address or bytes to pixels.

`uv run --group fuzz python -m tests.fuzz.pictures --seconds 600`
"""

from collections.abc import Iterator

from tests.fuzz.runner import run

ADDRESSES = (
    "https://shop.example/1.jpg?a=b#c",
    "https://user:secret@shop.example:8443/",
    "http://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1%25lo]/",
    "0x7f.1",
    "xn--caf-dma.fr.",
    "①②⑦.⓪.⓪.①",
    "../2.jpg",
    "//shop.example/",
    "https://a[b]@",
)


def seeds() -> Iterator[bytes]:
    """Files of every kind that is read or refused, small bombs, and addresses."""
    from tests.pictures import BOMBS, JPEG, PROGRESSIVE, UNUSABLE, USABLE, plain, saved, with_exif

    yield from (data for data, _ in USABLE.values())
    yield from (data for data, _ in UNUSABLE.values())
    yield from (build() for build in BOMBS.values())
    yield from (JPEG, PROGRESSIVE)
    yield from (
        saved(plain(colour, mode)) for mode, colour in (("RGBA", (1, 2, 3, 4)), ("LA", (5, 6)), ("1", 1))
    )
    yield saved(plain(0, "P"), transparency=b"\0")
    yield saved(plain((1, 2, 3)), transparency=(1, 2, 3))
    yield from (with_exif(form, 6) for form in ("JPEG", "PNG", "WEBP"))
    yield from (address.encode() for address in ADDRESSES)


if __name__ == "__main__":
    run("tests.fuzz.pictures", "keep_picture_promises", seeds)
