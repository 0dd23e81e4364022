"""Fuzzes the decoder of records and the cleaning of text.

`uv run --group fuzz python -m tests.fuzz.records --seconds 600`
"""

from collections.abc import Iterator

from tests.fuzz.runner import run

LISTING = (
    '{"event_id": "e-1", "product_id": 3804725264.0, "title": "Caf&amp;eacute; <b>neuf</b> \\ud83d", '
    '"description": "<!-- x --><script>y</script><p>\\u0000 &copy2024", '
    '"image": {"url": "https://shop/1.jpg"}, '
    '"listed_at": "2026-11-25T08:00:00+01:00", "explain": true}'
)
REQUEST = '{"request_id": "r", "product": ' + LISTING + ', "categories": [10, "a"], "max_evaluations": 100}'
CORRECTION = '{"correction_id": "c", "product_id": "1", "event_id": "e", "category": {"code": 2583}}'
CLOUD_EVENT = (
    '{"specversion": "1.0", "id": "i", "source": "/s", "time": 1764057600000, "data": ' + LISTING + "}"
)
CHALLENGE = '{"productid": 12345678901234567890123, "imageid": 7, "designation": "Lampe", "price": 1e400}'
DOCUMENTS = (LISTING, REQUEST, CORRECTION, CLOUD_EVENT, CHALLENGE)


def seeds() -> Iterator[bytes]:
    """Messages of every kind, and documents that are wrong in every way seen so far."""
    from tests.strategies import MARKUP, WRONG_DOCUMENTS

    for document in (*DOCUMENTS, *WRONG_DOCUMENTS):
        for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
            yield document.encode(encoding, errors="replace")
        yield b"\0\0\0\0\7" + document.encode()
        for content in (b"e-1", b"2026-11-25T08:00:00+01:00", b"application/cloudevents+json", b"\xff"):
            yield document.encode() + b"\n--headers--\n" + content
    for piece in MARKUP:
        yield piece.encode("utf-8", "surrogatepass")
    yield "".join(MARKUP).encode("utf-8", "surrogatepass")


if __name__ == "__main__":
    run("tests.fuzz.records", "keep_record_promises", seeds)
