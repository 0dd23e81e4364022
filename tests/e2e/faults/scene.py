"""Where a fault happens: a Kafka, topics of its own, workers, and numbered listings that flow."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.e2e.faults.row import Row, came_out, count, product_id
from tests.integration import faulty_worker
from tests.integration.workers import Output, OutputReader, Sent, Topics, Worker, listing, publish

NUM_PARTITIONS = 4
SESSION_SECONDS = 6
SECONDS_OF_FLOW = 10.0


@dataclass(frozen=True)
class Stage:
    """What the faults of a run share.

    Attributes:
        repository: model repository with ``demo@champion``.
        folder: for logs.
        num_listings: sent for each fault.
        per_second: how fast.
    """

    repository: Path
    folder: Path
    num_listings: int
    per_second: float

    @property
    def patience_seconds(self) -> float:
        """Longest wait for all results after a fault."""
        return 120.0 + 4 * self.num_listings / self.per_second


class Scene:
    """One fault, from the first listing to the last result.

    Args:
        name: of the fault.
        stage: what all faults share.
        bootstrap: addresses of the brokers, with commas.
        replication: of the topics.
    """

    def __init__(self, name: str, stage: Stage, bootstrap: str, *, replication: int = 1) -> None:
        suffix = uuid4().hex[:8]
        kinds = ("listed", "assigned", "dead", "requested", "explained", "group")
        self.topics = Topics(*(f"{kind}.{suffix}" for kind in kinds))
        self.stage = stage
        self.name = name
        self.bootstrap = bootstrap
        self._replication = replication
        self._outputs: list[Output] = []
        self._sent_at_ms: dict[int, int] = {}
        self._publishing: list[asyncio.Task[None]] = []
        self._workers: list[Worker] = []
        self._guards: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (*self._guards, *self._publishing):
            task.cancel()
        await asyncio.gather(*self._guards, *self._publishing, return_exceptions=True)
        for worker in self._workers:
            worker.__exit__(kind, error, trace)

    def start_worker(self, *, fault: str | None = None, **settings: object) -> Worker:
        """Start a worker; ``fault`` names one of ``faulty_worker``."""
        number = len(self._workers) + 1
        addresses = ";".join(f"kafka://{address}" for address in self.bootstrap.split(","))
        worker = Worker(
            self.bootstrap,
            self.topics,
            self.stage.repository,
            log=self.stage.folder / f"{self.name}-{number}.log",
            command=faulty_worker.command(fault) if fault else (),
            **{"broker": addresses, "session_timeout_seconds": SESSION_SECONDS, **settings},
        )
        self._workers.append(worker)
        return worker.start()

    def guard(self, worker: Worker) -> None:
        """Do for a worker what Kubernetes does: replace it once it has ended or calls itself dead."""
        self._guards.append(asyncio.create_task(self._guard(worker)))

    async def create_topics(self, *names: str, num_partitions: int = NUM_PARTITIONS) -> None:
        """Create topics, by default all that are read and written."""
        wanted = names or (self.topics.listed, self.topics.assigned, self.topics.dead)
        async with self._admin() as admin:
            topics = [NewTopic(name, num_partitions, self._replication) for name in wanted]
            response = await admin.create_topics(topics)
            assert all(code == 0 for _, code, *_ in response.topic_errors), response
            while any(topic["error_code"] for topic in await admin.describe_topics(list(wanted))):
                await asyncio.sleep(0.05)

    async def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until it is gone."""
        async with self._admin() as admin:
            await admin.delete_topics([name])
            while name in await admin.list_topics():
                await asyncio.sleep(0.05)

    async def topic_exists(self, name: str) -> None:
        """Wait until somebody has created a topic."""
        async with self._admin() as admin, asyncio.timeout(self.stage.patience_seconds):
            while name not in await admin.list_topics():
                await asyncio.sleep(0.2)

    def flow(self, first: float = 0.0, last: float = 1.0, **fields: object) -> None:
        """Publish a share of the listings in the background."""
        total = self.stage.num_listings
        numbers = range(round(first * total), round(last * total))
        self._publishing.append(asyncio.create_task(self._publish(numbers, fields)))

    async def until(self, share: float) -> None:
        """Wait until results of a share of the listings have come out."""
        async with self._reader() as reader:
            await self._read(reader, round(share * self.stage.num_listings))

    async def keep_outputs(self, share: float) -> None:
        """Wait for results of a share of the listings and keep them: their topic will go."""
        async with self._reader() as reader:
            await self._read(reader, round(share * self.stage.num_listings))
            self._outputs.append(reader.output)

    async def row(self) -> Row:
        """Wait for everything that is on its way, and count."""
        await asyncio.gather(*self._publishing)
        async with self._reader() as reader:
            with contextlib.suppress(TimeoutError):
                await self._read(reader, len(self._sent_at_ms))
            await reader.read(timeout_ms=1_500)
            outputs = [*self._outputs, reader.output]
        return count(self.name, self._sent_at_ms, outputs)

    async def _publish(self, numbers: Iterable[int], fields: Mapping[str, object]) -> None:
        records = (self._listing(number, fields) for number in numbers)
        await publish(self.bootstrap, self.topics.listed, records, per_second=self.stage.per_second)

    def _listing(self, number: int, fields: Mapping[str, object]) -> Sent:
        extra = {name: value(number) if callable(value) else value for name, value in fields.items()}
        _, body, headers = listing(number, product_id=product_id(number), **extra)
        self._sent_at_ms[number] = round(time.time() * 1000)
        return product_id(number).encode(), body, headers

    async def _read(self, reader: OutputReader, num_events: int) -> None:
        async with asyncio.timeout(self.stage.patience_seconds):
            while len(came_out([*self._outputs, reader.output])) < num_events:
                with contextlib.suppress(KafkaError):
                    await reader.read(timeout_ms=500)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[OutputReader]:
        async with OutputReader(self.bootstrap, self.topics) as reader:
            yield reader

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def _guard(self, worker: Worker) -> None:
        process = worker.process
        assert process is not None
        while process.poll() is None:
            status, _ = await asyncio.to_thread(worker.get, "/healthz")
            if status == 503:
                process.kill()
            await asyncio.sleep(0.2)
        self.guard(self.start_worker())


def assert_struck(worker: Worker) -> None:
    """The fault inside a worker has happened, or the row would say nothing."""
    assert faulty_worker.STRIKES in worker.log.read_text(errors="replace"), f"{worker.log}: no fault"


def freeze(worker: Worker) -> None:
    """Halt a worker as a pause of its machine would."""
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGSTOP)


def thaw(worker: Worker) -> None:
    """Let a frozen worker go on."""
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGCONT)
