"""Follows what a name means: a version that is put in its place is loaded, checked, and serves from then on.

The alias is looked at every few seconds. Loading goes on beside what serves, on a thread of its own. What
cannot be loaded, or does not score as it should, is refused, and what serves goes on. It is tried again, ever
more seldom, as it may only have been half copied.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from models.errors import ModelError
from models.repository import ModelLocation
from stream_app.daemon_threads import in_daemon_thread
from stream_app.inference import LoadedVersion

__all__ = ["ModelFollower", "ModelSource", "Refusal", "Retry", "ToldOfReloads"]

logger = logging.getLogger(__name__)

MAX_RETRY_SECONDS = 300.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why what is asked for does not serve.

    Attributes:
        asked: `name@version`; the setting itself while it means no version.
        reason: in one line.
    """

    asked: str
    reason: str


class ToldOfReloads(Protocol):
    """Where it is shown what became of versions."""

    def swapped(self) -> None:
        """Count a version that was put in its place."""

    def refused(self) -> None:
        """Count a version that was refused."""

    def refuses(self, *, refuses: bool) -> None:
        """Show whether what is asked for does not serve."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where the versions of one name come from.

    Attributes:
        asked: the name, as the operator wrote it.
        resolve: what it means now. Blocks.
        load: loads a version, ready to serve. Blocks.
    """

    asked: str
    resolve: Callable[[], ModelLocation]
    load: Callable[[ModelLocation], LoadedVersion]


class ModelFollower:
    """Keeps the version loaded that a name means.

    Args:
        source: of the versions.
        take: called on the loop with a version that is to serve from now on.
        told: where it is shown.
        interval_seconds: between two looks.
        serving: `name@version` of what serves already.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        take: Callable[[LoadedVersion], None],
        told: ToldOfReloads,
        interval_seconds: float,
        serving: str | None = None,
    ) -> None:
        self._source = source
        self._take = take
        self._told = told
        self._interval = interval_seconds
        self._retry = Retry(interval_seconds)
        self.serving = serving
        """`name@version` of what serves."""
        self.refusal: Refusal | None = None
        """Why what is asked for does not serve; None when it does."""

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval)

    async def look(self) -> None:
        """See what the name means, and put that in place of what serves."""
        wanted = await self._wanted()
        if wanted is None:
            return
        if str(wanted) == self.serving:
            self._is_served()
        elif self._retry.is_due(str(wanted), time.monotonic()):
            await self._replace(wanted)
        else:
            self.refusal = self._retry.refusal

    async def _wanted(self) -> ModelLocation | None:
        try:
            return await self._in_thread(self._source.resolve)
        except Exception as error:
            self._refuse(self._source.asked, error)
            return None

    async def _replace(self, wanted: ModelLocation) -> None:
        try:
            loaded = await self._in_thread(lambda: self._source.load(wanted))
        except Exception as error:
            self._told.refused()
            self._refuse(str(wanted), error)
            self._retry.failed(str(wanted), time.monotonic(), self.refusal)
            return
        if await self._wanted() != wanted:
            return  # the name was given to another one meanwhile, which the next look finds
        before, self.serving = self.serving, str(loaded)
        self._take(loaded)
        self._told.swapped()
        self._is_served()
        # By name: a handler that keeps its records would keep the version.
        logger.info("%s serves, before it was %s", self.serving, before or "nothing")

    def _is_served(self) -> None:
        self._retry.forget()
        self.refusal = None
        self._told.refuses(refuses=False)

    def _refuse(self, asked: str, error: Exception) -> None:
        told = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        refusal = Refusal(asked, " ".join(told.split()))
        if refusal != self.refusal:
            goes_on = f"; {self.serving} goes on" if self.serving else ""
            logger.error("%s is refused: %s%s", asked, refusal.reason, goes_on)
        self.refusal = refusal
        self._told.refuses(refuses=True)

    @staticmethod
    async def _in_thread(work: Callable[[], T]) -> T:
        # Not of a lower priority: off its core while it holds the interpreter lock, it would stop all others.
        return await in_daemon_thread(work, name="reload")


class Retry:
    """When a version that was refused is tried again: after twice as long each time."""

    def __init__(self, first_seconds: float) -> None:
        self._first_seconds = first_seconds
        self.forget()

    def forget(self) -> None:
        """Nothing was refused."""
        self.refusal: Refusal | None = None
        self._version, self._due_at, self._wait_seconds = "", 0.0, self._first_seconds

    def is_due(self, version: str, now: float) -> bool:
        """Whether a version may be tried at ``now`` (seconds)."""
        return version != self._version or now >= self._due_at

    def failed(self, version: str, now: float, refusal: Refusal | None = None) -> None:
        """Note that a version was refused at ``now``, and why."""
        if version != self._version:
            self.forget()
        self.refusal = refusal
        self._version, self._due_at = version, now + self._wait_seconds
        self._wait_seconds = min(2 * self._wait_seconds, MAX_RETRY_SECONDS)
