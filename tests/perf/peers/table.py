"""The peers by name, and how each is started."""

import importlib.util
import sys
from dataclasses import dataclass

HOW_TO_INSTALL = "uv run --with 'faststream[kafka]' --with litserve python -m tests.perf.throughput ..."


@dataclass(frozen=True)
class Peer:
    """What is measured: a module of `tests.perf.peers`, or the worker itself."""

    module: str | None = None
    needs: str | None = None
    """A package that is no dependency of the project."""
    answers_requests: bool = False
    """Instead of reading a topic."""

    @property
    def is_there(self) -> bool:
        """Whether what it needs can be imported."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None

    def command(self, *, identity: bool) -> tuple[str, ...]:
        """The command line; peers of their own look for ``SHELVER_TEST_IDENTITY``."""
        module = self.module or ("identity" if identity else None)
        # The script `shelver` is not beside the Python of `uv run --with`.
        words = ("stream_app", "worker") if module is None else (f"tests.perf.peers.{module}",)
        return (sys.executable, "-m", *words)


PEERS = {
    "shelver": Peer(),
    "getmany": Peer("getmany"),
    "faust": Peer("faust_take"),
    "faststream": Peer("faststream_batches", needs="faststream"),
    "http": Peer("http_batching", answers_requests=True),
    "litserve": Peer("litserve_server", needs="litserve", answers_requests=True),
}


def peers_there() -> list[str]:
    """Names of the peers that can be measured with what is installed."""
    return [name for name, peer in PEERS.items() if peer.is_there]
