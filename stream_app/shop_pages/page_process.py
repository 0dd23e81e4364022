"""The process that reads one page: an answer on standard input, its product or an error on standard output.

Started by `reading`. It bounds its own time and memory before it looks at the page, and cannot write files.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter
from yarl import URL

from stream_app.shop_pages.errors import PageError, PageReason
from stream_app.shop_pages.extraction import read_page
from stream_app.shop_pages.products import ListedProduct
from stream_app.web.answers import Answer

__all__ = ["packed", "product_of"]

CPU_SECONDS: Final = 5
MAX_MEMORY_BYTES: Final = 2 * 2**30
"""Of addresses, most of which are never touched."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: PageReason
    problem: str


_OUTCOME: Final[TypeAdapter[ListedProduct | _Refusal]] = TypeAdapter(ListedProduct | _Refusal)


def packed(answer: Answer) -> bytes:
    """An answer as this process reads it."""
    head = {"address": str(answer.address), "content_type": answer.content_type}
    return json.dumps(head).encode() + b"\n" + answer.body


def product_of(output: bytes) -> ListedProduct:
    """The product that this process wrote; nothing that it wrote is taken on trust.

    Raises:
        PageError: it wrote a refusal.
        ValueError: it wrote something else.
    """
    outcome = _OUTCOME.validate_json(output)
    if isinstance(outcome, _Refusal):
        raise PageError(outcome.reason, outcome.problem)
    return outcome


def main() -> None:
    """Read one page."""
    limit_resources()
    head, _, body = sys.stdin.buffer.read().partition(b"\n")
    told = json.loads(head)
    answer = Answer(URL(told["address"], encoded=True), told["content_type"], body)
    sys.stdout.buffer.write(_OUTCOME.dump_json(_outcome(answer)))


def limit_resources() -> None:
    """From here on: so much time of a processor, so much memory, no file and no core dump."""
    for kind, limit in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))


def _outcome(answer: Answer) -> ListedProduct | _Refusal:
    try:
        return read_page(answer)
    except PageError as error:
        return _Refusal(error.reason, error.problem)


if __name__ == "__main__":
    main()
