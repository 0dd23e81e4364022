"""Workers as processes of their own, and everything that went in and came out of a broker."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import jiter
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream_app.broker_config import free_port
from stream_app.process_guard import guarded
from tests.conftest import TopicNames

PATIENCE_SECONDS = 120.0
IN_FLIGHT = ("shelver_batches_in_flight", "shelver_explanation_batches_in_flight")


@dataclass(frozen=True)
class Topics:
    """The topics of one test, its consumer group too."""

    listed: str
    assigned: str
    dead: str
    requested: str
    explained: str
    group: str

    @classmethod
    def named(cls, topic_names: TopicNames) -> Self:
        return cls(
            *(topic_names(name) for name in ("listed", "assigned", "dead", "requested", "explained", "group"))
        )

    @property
    def corrected(self) -> str:
        return self.explained.replace("explained", "corrected")

    def environment(self) -> dict[str, str]:
        return {
            "SHELVER_PRODUCT_LISTED_TOPIC": self.listed,
            "SHELVER_CATEGORY_ASSIGNED_TOPIC": self.assigned,
            "SHELVER_DEAD_LETTER_TOPIC": self.dead,
            "SHELVER_EXPLANATION_REQUESTED_TOPIC": self.requested,
            "SHELVER_CATEGORY_EXPLAINED_TOPIC": self.explained,
            "SHELVER_CATEGORY_CORRECTED_TOPIC": self.corrected,
            "SHELVER_GROUP": self.group,
        }


class Worker:
    """``shelver worker`` as a process; stopped when the ``with`` block ends."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        repository: Path,
        *,
        log: Path,
        command: Sequence[str] = (),
        **settings: object,
    ) -> None:
        self.port = free_port()
        self.log = log
        self._command = command or (str(Path(sys.executable).with_name("shelver")), "worker")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SHELVER_")},
            "SHELVER_BROKER": f"kafka://{bootstrap}",
            "SHELVER_MODEL_REPOSITORY": str(repository),
            "SHELVER_MODEL": "demo@champion",
            "SHELVER_METRICS_PORT": str(self.port),
            "SHELVER_INFERENCE_THREADS": "1",
            **topics.environment(),
            **{f"SHELVER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                guarded(list(self._command)),
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            # With what it has started: a session of its own is a group of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        if error is not None:
            sys.stderr.write(f"--- {self.log}\n{self.log.read_text(errors='replace')[-6000:]}\n")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the worker; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    async def ready(self) -> None:
        await self._until(lambda: self.get("/readyz")[0] == 200)

    async def metric(self, name: str) -> float:
        """Sum of all series of a metric."""
        _, text = await asyncio.to_thread(self.get, "/metrics")
        lines = (line for line in text.splitlines() if line.startswith(name) and line[len(name)] in " {")
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def has_counted(self) -> None:
        """Wait until what came out is counted: a batch is, after the brokers have confirmed it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any([await self.metric(name) for name in IN_FLIGHT]):
                await asyncio.sleep(0.05)

    async def stop(self, number: int = signal.SIGTERM, *, seconds: float = 30) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, seconds)

    async def exit_code(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, seconds)

    async def _until(self, condition: object) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        assert callable(condition)
        while not await asyncio.to_thread(condition):
            assert self.process is not None
            assert self.process.poll() is None, f"the worker exited with {self.process.returncode}"
            assert time.monotonic() < deadline, "the worker did not become ready"
            await asyncio.sleep(0.1)


@dataclass
class Output:
    """What came out so far."""

    assigned: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """event id -> assignment ids."""
    messages: list[Mapping[str, object]] = field(default_factory=list)
    dead: list[tuple[bytes | None, bytes | None, dict[str, bytes | None]]] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    """topic-partition-offset of every listing that came out one way or the other."""
    written_at_ms: dict[str, int] = field(default_factory=dict)
    """event id -> when its first category was written."""

    @property
    def num_duplicates(self) -> int:
        return sum(len(ids) - 1 for ids in self.assigned.values())


class OutputReader:
    """Reads both output topics from their beginning."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._topics = topics
        self._consumer = AIOKafkaConsumer(
            topics.assigned,
            topics.dead,
            bootstrap_servers=bootstrap,
            auto_offset_reset="earliest",
            metadata_max_age_ms=1000,
        )
        self.output = Output()

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def until(self, num_sources: int, *, seconds: float = PATIENCE_SECONDS) -> Output:
        """Read until so many different listings have come out."""
        deadline = time.monotonic() + seconds
        while len(self.output.sources) < num_sources:
            assert time.monotonic() < deadline, (
                f"{len(self.output.sources)} of {num_sources} listings came out"
            )
            await self.read(timeout_ms=500)
        return self.output

    async def read(self, *, timeout_ms: int) -> None:
        for partition, records in (await self._consumer.getmany(timeout_ms=timeout_ms)).items():
            for record in records:
                if partition.topic == self._topics.assigned:
                    self._take_assignment(record.value, record.timestamp)
                else:
                    headers = dict(record.headers)
                    self.output.dead.append((record.key, record.value, headers))
                    self.output.sources.add(headers.get("shelver.source", b"").decode())

    def _take_assignment(self, value: bytes, written_at_ms: int) -> None:
        message = jiter.from_json(value)
        self.output.messages.append(message)
        self.output.written_at_ms.setdefault(message["event_id"], written_at_ms)
        self.output.assigned[message["event_id"]].append(message["assignment_id"])
        source = message["source"]
        self.output.sources.add(f"{source['topic']}-{source['partition']}-{source['offset']}")


Sent = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]


async def publish(
    bootstrap: str,
    topic: str,
    records: Iterable[Sent],
    *,
    per_second: float | None = None,
) -> int:
    """Publish (key, value, headers) and wait for every delivery."""
    num_sent = 0
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        request_timeout_ms=120_000,
        max_request_size=12 * 2**20,
    )
    async with producer:
        deliveries = []
        for key, value, headers in records:
            deliveries.append(await producer.send(topic, key=key, value=value, headers=list(headers)))
            num_sent += 1
            if per_second and num_sent % 25 == 0:
                await asyncio.sleep(25 / per_second)
        await asyncio.gather(*deliveries)
    return num_sent


def listing(number: int, **fields: object) -> Sent:
    """A numbered, valid listing."""
    body = {
        "event_id": f"e-{number}",
        "product_id": str(number),
        "title": f"Lampe de chevet n° {number}",
        **fields,
    }
    return str(number).encode(), json.dumps(body).encode(), []


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started client for topics."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def delete_topic(bootstrap: str, topic: str) -> None:
    """Delete a topic and wait until the broker knows it no more."""
    async with admin(bootstrap) as client:
        await client.delete_topics([topic])
        while topic in await client.list_topics():
            await asyncio.sleep(0.05)


async def committed(bootstrap: str, topics: Topics) -> dict[int, int | None]:
    """Committed offset of each partition of the listings."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=topics.group, enable_auto_commit=False)
    await consumer.start()
    try:
        await consumer._client._wait_on_metadata(topics.listed)
        partitions = sorted(consumer.partitions_for_topic(topics.listed) or ())
        return {
            number: await consumer.committed(KafkaPartition(topics.listed, number)) for number in partitions
        }
    finally:
        await consumer.stop()
