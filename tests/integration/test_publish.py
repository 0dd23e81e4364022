"""`shelver publish`: everything confirmed or said, whatever the catalogue and the brokers do."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.catalogue_rows import CatalogueRow
from schemas.codec import decode
from schemas.products import ProductListed
from stream_app import catalogue_publishing
from stream_app.broker import EmbeddedBroker
from stream_app.broker_config import free_port
from stream_app.broker_settings import BrokerSettings
from stream_app.catalogue_publishing import DeliveryError, Progress, publish_catalogue

PROJECT = Path(__file__).parents[2]
SHELVER = [sys.executable, "-c", "from stream_app.cli import main; main()"]
NUM_PARTITIONS = 3

TopicNames = Callable[[str], str]
CreateTopics = Callable[..., Awaitable[None]]


@pytest.fixture
async def topic(topic_names: TopicNames, create_topics: CreateTopics) -> str:
    name = topic_names("product-listed")
    await create_topics(name, num_partitions=NUM_PARTITIONS)
    return name


def write_catalogue(path: Path, num_rows: int, **columns: str) -> Path:
    """A CSV catalogue with these further columns in each row."""
    header = ",".join(("product_id", "title", "description", *columns))
    lines = [",".join((str(row), f"Titre {row}", "<p>Été</p>", *columns.values())) for row in range(num_rows)]
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def publish(kafka: EmbeddedBroker, topic: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SHELVER, "publish", "--broker", kafka.url, "--topic", topic, *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def report(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    counts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return counts


async def read_all(kafka: EmbeddedBroker, topic: str) -> Sequence[Any]:
    """Every record of a topic."""
    partitions = [TopicPartition(topic, number) for number in range(NUM_PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign(partitions)
        num_records = sum((await consumer.end_offsets(partitions)).values())
        return [await consumer.getone() for _ in range(num_records)]


async def test_every_row_arrives_as_a_listing_with_its_picture(
    kafka: EmbeddedBroker, topic: str, tmp_path: Path
) -> None:
    (tmp_path / "robot.png").write_bytes(b"\x89PNG")
    catalogue = write_catalogue(tmp_path / "catalogue.csv", 500, image="robot.png", category="10")
    done = publish(kafka, topic, str(catalogue), "--json", "--explain")
    assert done.returncode == 0, done.stderr
    assert report(done).items() >= {"published": 500, "failed": 0}.items()
    assert "500 of 500 listings confirmed" in done.stderr
    records = await read_all(kafka, topic)
    listings = [
        decode(ProductListed, record.value, record.headers, default_event_id="none") for record in records
    ]
    assert {listing.product_id for listing in listings} == {str(row) for row in range(500)}
    assert {record.key.decode() for record in records} == {str(row) for row in range(500)}
    assert len({listing.event_id for listing in listings}) == 500
    assert all(listing.explain and listing.image and listing.image.data for listing in listings)
    assert dict(records[0].headers)["ce_id"].decode() == listings[0].event_id
    assert len({record.partition for record in records}) == NUM_PARTITIONS


async def test_publishing_twice_gives_the_same_event_ids(
    kafka: EmbeddedBroker, topic: str, tmp_path: Path
) -> None:
    catalogue = str(write_catalogue(tmp_path / "catalogue.csv", 20))
    assert publish(kafka, topic, catalogue).returncode == 0
    assert publish(kafka, topic, catalogue, "--limit", "5").returncode == 0
    records = await read_all(kafka, topic)
    ids = [decode(ProductListed, record.value, default_event_id="none").event_id for record in records]
    assert (len(ids), len(set(ids))) == (25, 20)


async def test_a_row_that_is_too_large_is_told_and_the_others_arrive(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics, tmp_path: Path
) -> None:
    topic = topic_names("small")
    await create_topics(topic, num_partitions=NUM_PARTITIONS, configs={"max.message.bytes": "20000"})
    catalogue = write_catalogue(tmp_path / "catalogue.csv", 100)
    with catalogue.open("a", encoding="utf-8") as rows:
        rows.write(f"large,{'x' * 30_000},\n")
        rows.write("last,Titre,\n")
    done = publish(kafka, topic, str(catalogue), "--json")
    assert done.returncode == 1
    assert report(done).items() >= {"published": 101, "failed": 1}.items()
    assert "product 'large' is not published: it is larger than" in done.stderr
    assert len(await read_all(kafka, topic)) == 101


async def test_a_catalogue_that_breaks_off_is_refused_as_a_whole(
    kafka: EmbeddedBroker, topic: str, tmp_path: Path
) -> None:
    catalogue = write_catalogue(tmp_path / "catalogue.csv", 10)
    with catalogue.open("a", encoding="utf-8") as rows:
        rows.write(",no product id,\n")
    done = publish(kafka, topic, str(catalogue), "--json")
    assert done.returncode == 2
    assert "catalogue.csv, line 12" in done.stderr
    assert await read_all(kafka, topic) == []


def test_a_missing_topic_is_one_line_that_says_what_to_do(
    kafka: EmbeddedBroker, topic_names: TopicNames, tmp_path: Path
) -> None:
    topic = topic_names("nobody-created-me")
    done = publish(kafka, topic, str(write_catalogue(tmp_path / "catalogue.csv", 3)), "--json")
    assert done.returncode == 2
    assert report(done)["published"] == 0
    assert done.stderr.splitlines()[-1].startswith(
        f"shelver: there is no topic '{topic}' at {kafka.url}; start "
    )


def test_a_missing_broker_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    nobody = f"kafka://127.0.0.1:{free_port()}"
    catalogue = write_catalogue(tmp_path / "catalogue.csv", 3)
    done = subprocess.run(
        [*SHELVER, "publish", str(catalogue), "--broker", nobody],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"shelver: no Kafka answers at {nobody}; start one with ")


async def test_ctrl_c_says_how_many_were_confirmed(kafka: EmbeddedBroker, topic: str, tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path / "catalogue.csv", 10_000)
    command = await asyncio.create_subprocess_exec(
        *SHELVER,
        "publish",
        str(catalogue),
        "--broker",
        kafka.url,
        "--topic",
        topic,
        "--rate",
        "50",
        "--json",
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not await read_all(kafka, topic):
        await asyncio.sleep(0.1)
    command.send_signal(signal.SIGINT)
    stdout, stderr = await command.communicate()
    assert command.returncode == 130, stderr
    confirmed = json.loads(stdout.splitlines()[-1])["published"]
    assert 0 < confirmed < 10_000
    assert f"{confirmed} of 10000 listings confirmed" in stderr.decode()
    assert len(await read_all(kafka, topic)) == confirmed


async def test_a_rate_is_kept(kafka: EmbeddedBroker, topic: str) -> None:
    progress = Progress()
    began = asyncio.get_running_loop().time()
    rows = [CatalogueRow(str(number), "title", "") for number in range(21)]
    await publish_catalogue(
        rows, brokers=BrokerSettings(broker=kafka.url), topic=topic, progress=progress, per_second=20
    )
    assert asyncio.get_running_loop().time() - began >= 1.0
    assert progress.num_published == 21


async def test_memory_in_flight_is_bounded(
    kafka: EmbeddedBroker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_publishing, "MAX_IN_FLIGHT_BYTES", 100_000)
    progress = Progress()
    ahead: list[int] = []

    def rows() -> Any:
        for number in range(200):
            ahead.append(number - progress.num_published)
            yield CatalogueRow(str(number), "x" * 10_000, "")

    await publish_catalogue(rows(), brokers=BrokerSettings(broker=kafka.url), topic=topic, progress=progress)
    assert progress.num_published == 200
    assert max(ahead) <= 11


async def test_a_broker_that_goes_away_ends_the_command_with_true_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_publishing, "DELIVERY_SECONDS", 3.0)
    monkeypatch.setattr(catalogue_publishing, "STOP_SECONDS", 0.5)
    progress = Progress()
    with await asyncio.to_thread(EmbeddedBroker(tmp_path).__enter__) as broker:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic("listed", NUM_PARTITIONS, 1)])
        await admin.close()

        def rows() -> Any:
            for number in range(1_000_000):
                if progress.num_published > 100 and broker.is_running:
                    broker.kill()
                yield CatalogueRow(str(number), "title", "")

        with pytest.raises(DeliveryError, match="stopped taking listings"):
            await publish_catalogue(
                rows(),
                brokers=BrokerSettings(broker=broker.url),
                topic="listed",
                progress=progress,
                per_second=2_000,
            )
        await asyncio.to_thread(broker.start)
        assert 100 < progress.num_published <= len(await read_all(broker, "listed"))
