"""Every tenth record is bad: the good ones are classified, the bad ones kept with their reason, none lost."""

import base64
from collections import Counter
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.dead_letters import Reason, Stage
from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.resident_memory import MemoryWatch
from tests.integration.workers import OutputReader, Sent, Topics, Worker, committed, listing, publish
from tests.unencodable import RawName, write_raw_names

FRAMED = b"\x00\x00\x00\x00\x07"
MEGABYTE = 2**20

DEAD: dict[str, tuple[bytes, Stage, Reason]] = {
    "empty": (b"", Stage.DECODE, Reason.MALFORMED),
    "null": (b"null", Stage.DECODE, Reason.MALFORMED),
    "number": (b"7", Stage.DECODE, Reason.MALFORMED),
    "array": (b'[{"product_id":"1","title":"x"}]', Stage.DECODE, Reason.MALFORMED),
    "cut": (b'{"product_id":"1","title":"x', Stage.DECODE, Reason.MALFORMED),
    "two documents": (b'{"product_id":"1"}\n{"product_id":"2"}', Stage.DECODE, Reason.MALFORMED),
    "encoded twice": (b'"{\\"product_id\\":\\"1\\"}"', Stage.DECODE, Reason.MALFORMED),
    "latin-1": (b'{"product_id":"1","title":"\xe9t\xe9"}', Stage.DECODE, Reason.MALFORMED),
    "utf-16": ('{"product_id":"1","title":"x"}'.encode("utf-16"), Stage.DECODE, Reason.MALFORMED),
    "deep": (b"[" * 100_000, Stage.DECODE, Reason.MALFORMED),
    "deep object": (b'{"a":' * 50_000, Stage.DECODE, Reason.MALFORMED),
    "nan": (b'{"product_id":"1","title":"x","price":NaN}', Stage.DECODE, Reason.MALFORMED),
    "bytes": (bytes(range(255, -1, -1)), Stage.DECODE, Reason.MALFORMED),
    "framed avro": (FRAMED + b"\x02\x06abc", Stage.DECODE, Reason.SCHEMA_REGISTRY_FRAMING),
    "no id": (b'{"title":"x"}', Stage.VALIDATE, Reason.INVALID),
    "wrong types": (b'{"product_id":true,"title":["x"]}', Stage.VALIDATE, Reason.INVALID),
    "image without source": (b'{"product_id":"1","title":"x","image":{}}', Stage.VALIDATE, Reason.INVALID),
    "nothing to classify": (b'{"product_id":"1","title":" <p> </p> "}', Stage.PREPARE, Reason.EMPTY_LISTING),
    "no text and a broken picture": (
        b'{"product_id":"1","title":"","image":{"data":"AAAA"}}',
        Stage.PREPARE,
        Reason.EMPTY_LISTING,
    ),
    "3 MB that is no JSON": (b"x" * (3 * MEGABYTE), Stage.DECODE, Reason.MALFORMED),
}

GOOD: dict[str, bytes] = {
    "byte order mark": b'\xef\xbb\xbf{"event_id":"bom","product_id":"1","title":"Lampe"}',
    "framed JSON": FRAMED + b'{"event_id":"framed","product_id":"1","title":"Lampe"}',
    "names of the challenge": b'{"event_id":"names","productid":3804725264,"designation":"Lampe"}',
    "duplicate keys": b'{"event_id":"keys","product_id":"1","title":"a","title":"Lampe"}',
    "long id": b'{"event_id":"long","product_id":12345678901234567890123,"title":"Lampe"}',
    "lone surrogate": b'{"event_id":"surrogate","product_id":"1","title":"Lampe \\ud83d"}',
    "NUL": b'{"event_id":"nul","product_id":"1","title":"a\\u0000b"}',
    "broken picture": b'{"event_id":"picture","product_id":"1","title":"Lampe","image":{"data":"!!"}}',
    "3 MB": b'{"event_id":"large","product_id":"1","title":"Lampe","description":"'
    + b"<div>x" * (MEGABYTE // 2)
    + b'"}',
    "unknown fields": b'{"event_id":"unknown","product_id":"1","title":"Lampe","price":1e400,"x":{"y":[]}}',
}

STRUCTURED = (
    b'{"specversion":"1.0","id":"structured","source":"/shop","type":"product.listed",'
    b'"data":{"product_id":"1","title":"Lampe"}}'
)


async def test_bad_listings_are_kept_with_their_reason_and_good_ones_classified(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, rounds = Topics.named(topic_names), 3
    await create_topics(topics.listed, num_partitions=4, configs={"max.message.bytes": "10485760"})
    await create_topics(topics.assigned, num_partitions=4)
    await create_topics(topics.dead, num_partitions=1)
    records: list[Sent] = []
    num_good = num_tombstones = 0
    for _ in range(rounds):
        for value, _stage, _reason in DEAD.values():
            records.append((b"bad", value, [("ce_id", None), ("trace", b"\xff"), ("trace", b"2")]))
            records.extend(listing(num_good + number) for number in range(9))
            num_good += 9
            records.append((b"gone", None, []))
            num_tombstones += 1
    records.extend((None, value, []) for value in GOOD.values())
    records.append((b"s", STRUCTURED, [("content-type", b"application/cloudevents+json")]))
    records.append(
        (b"b", b'{"product_id":"1","title":"x"}', [("ce_id", b"binary"), ("ce_specversion", b"1.0")])
    )
    await publish(kafka.bootstrap, topics.listed, records)

    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker:
            output = await reader.until(len(records) - num_tombstones)
            await worker.has_counted()
            assert (
                await worker.metric('shelver_records_consumed_total{outcome="delisting"}') == num_tombstones
            )
            assert await worker.metric("shelver_dead_letters_total") == rounds * len(DEAD)
            assert worker.get("/healthz")[0] == 200
            assert await worker.stop() == 0

    named = {"bom", "framed", "names", "keys", "long", "surrogate", "nul", "picture", "large", "unknown"}
    expected = {f"e-{number}" for number in range(num_good)} | named | {"structured", "binary"}
    assert set(output.assigned) == expected
    assert_dead_letters(output.dead, rounds)
    assert_odd_ones_are_told(output.messages)
    offsets = await committed(kafka.bootstrap, topics)
    assert sum(offset or 0 for offset in offsets.values()) == len(records)


def assert_dead_letters(
    dead: list[tuple[bytes | None, bytes | None, dict[str, bytes | None]]], rounds: int
) -> None:
    expected = Counter(
        {(_kept(value), stage.encode(), reason.encode()): rounds for value, stage, reason in DEAD.values()}
    )
    found = Counter(
        (value, headers["shelver.stage"], headers["shelver.reason"]) for _, value, headers in dead
    )
    assert found == expected
    for key, value, headers in dead:
        assert key == b"bad"
        assert headers["trace"] == b"2"
        assert headers["ce_id"] is None
        assert headers["shelver.message"]
        if value == b"x" * 1024:
            assert headers["shelver.original-size"] == str(3 * MEGABYTE).encode()


def _kept(value: bytes) -> bytes:
    return value[:1024] if len(value) > MEGABYTE else value


def assert_odd_ones_are_told(messages: list) -> None:  # type: ignore[type-arg]
    by_event = {message["event_id"]: message for message in messages}
    assert by_event["names"]["product_id"] == "3804725264"
    assert by_event["long"]["product_id"] == "12345678901234567890123"
    assert by_event["picture"]["modalities"]["image"] == "unavailable"
    assert by_event["picture"]["image_reason"] == "invalid_base64"
    assert by_event["large"]["modalities"]["text"] == "truncated"
    assert by_event["e-0"]["modalities"] == {"text": "used", "image": "absent"}
    assert len(by_event["e-0"]["alternatives"]) >= 1


async def test_a_header_name_that_is_no_text_stops_nobody(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=1)
    records = [listing(number) for number in range(20)]
    records[7] = (b"k", records[7][1], [(RawName(b"\xff\xfe"), b"1"), ("ce_id", b"e")])
    records[9] = (b"k", b"no listing", [(RawName(b"na\xc3"), None)])
    with monkeypatch.context() as patched:
        write_raw_names(patched)
        await publish(kafka.bootstrap, topics.listed, records)
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker:
            output = await reader.until(20)
            assert await worker.stop() == 0
    assert set(output.assigned) == {f"e-{number}" for number in range(20) if number != 9}
    ((_, value, headers),) = output.dead
    assert value == b"no listing"
    assert "na\ufffd" in headers


async def test_batches_that_unpack_to_gigabytes_are_dead_letters(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, num_bombs, num_good = Topics.named(topic_names), 8, 20
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=1)
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker:
            await worker.ready()
            async with MemoryWatch(worker) as memory:
                await publish(kafka.bootstrap, topics.listed, map(listing, range(num_good)))
                await send_bombs(kafka, topics.listed, num_bombs)
                await publish(kafka.bootstrap, topics.listed, map(listing, range(num_good, 2 * num_good)))
                output = await reader.until(2 * num_good + num_bombs)
            grown_mb = memory.peak_mb() - memory.first_mb
            assert await worker.stop() == 0
    assert set(output.assigned) == {f"e-{number}" for number in range(2 * num_good)}
    assert [headers["shelver.reason"] for *_, headers in output.dead] == [b"unreadable_batch"] * num_bombs
    assert b"a batch of 1 records, compressed with zstd" in (output.dead[0][2]["shelver.batch"] or b"")
    assert await committed(kafka.bootstrap, topics) == {0: 2 * num_good + num_bombs}
    assert grown_mb < 300, "one of them unpacked is 200 MB, all of them 1.6 GB"


async def send_bombs(kafka: EmbeddedBroker, topic: str, num_bombs: int) -> None:
    """Batches of some kilobytes that hold 200 MB of nothing each."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type="zstd") as producer:
        for _ in range(num_bombs):
            batch = producer.create_batch()
            assert batch.append(key=b"bomb", value=bytes(200 * MEGABYTE), timestamp=None)
            await (await producer.send_batch(batch, topic, partition=0))


async def test_inline_pictures_are_used_and_every_codec_is_read(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    sample_catalogue: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=2)
    picture = next((sample_catalogue / "images" / "image_train").iterdir()).read_bytes()
    image = {"data": base64.b64encode(picture).decode()}

    async def send(number: int, codec: str | None) -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=codec) as producer:
            key, value, _ = listing(number, image=image)
            await producer.send_and_wait(topics.listed, key=key, value=value)

    for number, codec in enumerate(("gzip", "snappy", "lz4", "zstd", None)):
        await send(number, codec)
    await compress_topic(kafka, topics.listed, "zstd")
    await send(5, None)
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=tmp_path / "worker.log") as worker:
            output = await reader.until(6)
            assert await worker.stop() == 0
    assert {message["modalities"]["image"] for message in output.messages} == {"used"}  # type: ignore[index]


async def compress_topic(kafka: EmbeddedBroker, topic: str, codec: str) -> None:
    """Have the broker compress what arrives from now on."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, {"compression.type": codec})]
        )
    finally:
        await admin.close()
