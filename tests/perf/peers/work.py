"""What every peer does with its records: decode, prepare, score, and write the same JSON as Shelver.

Peers are told what to do by the variables of the worker (``SHELVER_BROKER``, ``SHELVER_MODEL``, ...).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from models.repository import ModelRepository
from models.runtime import Classifier
from stream_app.assigning import outgoing
from stream_app.batching import Record
from stream_app.inference import score_listings
from stream_app.preparing import decode_records, prepare_listings
from stream_app.publishing import Outgoing
from stream_app.settings import Settings
from tests.perf.peers.identity import use_identity_if_asked

_OFFSETS = count()


@dataclass(frozen=True, slots=True)
class Asked:
    """The listing of a request, with what a record has besides."""

    value: bytes | None
    offset: int = field(default_factory=lambda: next(_OFFSETS))
    topic: str = "http"
    partition: int = 0
    timestamp: int = -1
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Work:
    """A loaded and warm model, and the way from records to outputs; blocks, so call it in a thread."""

    def __init__(self, settings: Settings) -> None:
        use_identity_if_asked()
        version = ModelRepository(Path(settings.model_repository)).resolve(settings.model)
        self._classifier = Classifier.load(
            version.folder, settings.device, num_threads=settings.inference_threads
        )
        self._classifier.warm_up(settings.max_batch)
        self._threads = ThreadPoolExecutor(settings.prepare_threads)
        self._settings = settings

    def outgoing(self, records: Sequence[Record]) -> list[Outgoing]:
        """The outputs of valid listings, in their order."""
        settings = self._settings
        decoded = decode_records(records, max_bytes=settings.max_message_bytes)
        prepared = prepare_listings(decoded, self._classifier, {}, self._threads)
        scored = score_listings(prepared, self._classifier)
        return outgoing(scored, topic=settings.category_assigned_topic, source=settings.event_source)
