"""The embedded broker: what it keeps, how it ends, and that it never outlives us."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from stream_app.broker import BrokerError, BrokerSetupError, EmbeddedBroker

PROJECT = Path(__file__).parents[2]
SHELVER = [sys.executable, "-c", "from stream_app.cli import main; main()"]
ECHO = TopicPartition("echo", 0)


async def create_echo(broker: EmbeddedBroker) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(ECHO.topic, 1, 1)])
    finally:
        await admin.close()


async def produce(broker: EmbeddedBroker, *values: bytes, topic: str = ECHO.topic, **options: object) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all", **options) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def consume(broker: EmbeddedBroker, group: str, num_records: int) -> list[bytes]:
    """Read on where the group stopped and commit."""
    # It joins the group: one that assigns itself a partition while the group still loads after a restart is
    # told so in a field that aiokafka 0.14 does not read, takes it for "no offset" and begins anew.
    async with AIOKafkaConsumer(
        ECHO.topic,
        bootstrap_servers=broker.bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    ) as consumer:
        values = [(await consumer.getone()).value for _ in range(num_records)]
        await consumer.commit()
    return values


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"process {pid} is still there"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """A broker to be stopped, killed and frozen, in a folder whose name is hard on configuration files."""
    with EmbeddedBroker(tmp_path_factory.mktemp("données, du jour")) as broker:
        yield broker


async def test_a_record_goes_in_and_comes_out(
    kafka: EmbeddedBroker, topic_names: Callable[[str], str], create_topics: Callable[..., Awaitable[None]]
) -> None:
    topic = topic_names("echo")
    await create_topics(topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, b"value", key=b"key")
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        record = await consumer.getone()
    assert (record.key, record.value) == (b"key", b"value")


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_the_topic_may_have_any_compression(
    kafka: EmbeddedBroker,
    topic_names: Callable[[str], str],
    create_topics: Callable[..., Awaitable[None]],
    codec: str,
) -> None:
    topic = topic_names(codec)
    await create_topics(topic, configs={"compression.type": codec})
    await produce(kafka, b"value" * 100, topic=topic)


async def test_a_message_of_ten_mebibytes_fits_and_a_larger_one_does_not(
    kafka: EmbeddedBroker, topic_names: Callable[[str], str], create_topics: Callable[..., Awaitable[None]]
) -> None:
    topic = topic_names("large")
    await create_topics(topic)
    overhead = 200
    await produce(kafka, bytes(10 * 2**20 - overhead), topic=topic, max_request_size=20 * 2**20)
    with pytest.raises(KafkaError):
        await produce(kafka, bytes(10 * 2**20 + overhead), topic=topic, max_request_size=20 * 2**20)


async def test_no_topic_is_created_unasked(kafka: EmbeddedBroker, topic_names: Callable[[str], str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        topic = topic_names("nobody-created-me")
        [described] = await admin.describe_topics([topic])
        assert described["error_code"] == UnknownTopicOrPartitionError.errno
        assert topic not in await admin.list_topics()
    finally:
        await admin.close()


async def test_topics_and_offsets_outlast_an_orderly_stop_a_power_cut_and_the_object(
    own_broker: EmbeddedBroker,
) -> None:
    bootstrap = own_broker.bootstrap
    await create_echo(own_broker)
    await produce(own_broker, b"1", b"2", b"3", b"4")
    assert await consume(own_broker, "group", 1) == [b"1"]
    await asyncio.to_thread(own_broker.restart)
    assert await consume(own_broker, "group", 1) == [b"2"]
    own_broker.kill()
    await asyncio.to_thread(own_broker.start)
    assert own_broker.bootstrap == bootstrap
    assert await consume(own_broker, "group", 1) == [b"3"]
    await asyncio.to_thread(own_broker.stop)
    with await asyncio.to_thread(EmbeddedBroker(own_broker.data_dir).__enter__) as other:
        assert await consume(other, "group", 1) == [b"4"]
    await asyncio.to_thread(own_broker.start)


def test_a_started_broker_is_not_started_again(own_broker: EmbeddedBroker) -> None:
    pid = own_broker.pid
    own_broker.start()
    assert own_broker.pid == pid


async def test_a_frozen_broker_answers_after_it_is_thawed(own_broker: EmbeddedBroker) -> None:
    async with AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap, acks="all") as producer:
        await producer.send_and_wait(ECHO.topic, b"before")
        own_broker.freeze()
        assert own_broker.is_running
        delivery = await producer.send(ECHO.topic, b"during")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(delivery), 0.5)
        own_broker.thaw()
        assert (await delivery).topic == ECHO.topic


def test_a_folder_in_use_is_refused(own_broker: EmbeddedBroker) -> None:
    before = (own_broker.data_dir / "server.properties").read_text()
    with pytest.raises(BrokerSetupError, match="Another broker uses the folder"):
        EmbeddedBroker(own_broker.data_dir).start()
    assert (own_broker.data_dir / "server.properties").read_text() == before
    own_broker.restart()


def test_a_port_in_use_is_refused_before_anything_starts(own_broker: EmbeddedBroker, tmp_path: Path) -> None:
    with pytest.raises(BrokerSetupError, match=f"Port {own_broker.port} on 127.0.0.1 is taken"):
        EmbeddedBroker(tmp_path, port=own_broker.port).start()
    assert list(tmp_path.iterdir()) == []


def test_a_property_that_kafka_refuses_is_told_from_its_log(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path, properties={"message.max.bytes": "many"})
    with pytest.raises(BrokerError, match=r"could not format[\s\S]*many"):
        broker.start()
    assert not broker.is_running


def test_a_broker_that_does_not_answer_in_time_is_ended(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        assert broker.is_running
    broker = EmbeddedBroker(tmp_path, start_timeout_seconds=0.2)
    with pytest.raises(BrokerError, match=r"did not answer within 0\.2 s"):
        broker.start()
    assert not broker.is_running


def test_a_stop_ends_a_frozen_broker_too(own_broker: EmbeddedBroker) -> None:
    pid = own_broker.pid
    assert pid is not None
    own_broker.freeze()
    own_broker.stop()
    assert not psutil.pid_exists(pid)
    own_broker.start()


def test_a_broker_that_dies_ends_the_wait(own_broker: EmbeddedBroker) -> None:
    own_broker.wait(0.01)
    assert own_broker.pid is not None
    os.kill(own_broker.pid, signal.SIGKILL)
    with pytest.raises(BrokerError, match="is not running"):
        own_broker.wait(30)
    own_broker.start()
    assert own_broker.is_running


def start_command(*arguments: str) -> tuple["subprocess.Popen[str]", psutil.Process]:
    """Run ``shelver broker`` until it says where it listens; also gives the JVM."""
    command = subprocess.Popen(
        [*SHELVER, "broker", "--port", "0", *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline().startswith("Kafka 4.4.0 on 127.0.0.1:")
    [jvm] = psutil.Process(command.pid).children()
    return command, jvm


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    command, jvm = start_command("--data", str(tmp_path))
    with command:
        command.send_signal(number)
        _, said = command.communicate(timeout=30)
    assert command.returncode == 0, said
    assert f"kept in {tmp_path}" in said
    assert said.rstrip().endswith("Kafka has stopped.")
    assert not jvm.is_running()
    assert (tmp_path / "topics" / ".kafka_cleanshutdown").exists()


def test_a_command_that_is_killed_takes_its_broker_with_it(tmp_path: Path) -> None:
    command, jvm = start_command("--data", str(tmp_path))
    with command:
        command.kill()
        command.communicate(timeout=30)
        wait_until_gone(jvm.pid)


def test_the_command_fails_when_its_broker_dies(tmp_path: Path) -> None:
    command, jvm = start_command("--data", str(tmp_path))
    with command:
        jvm.kill()
        _, said = command.communicate(timeout=30)
    assert command.returncode == 1
    (line,) = (line for line in said.splitlines() if line.startswith("shelver: "))
    assert "is not running" in line


def test_a_taken_port_is_one_line_and_exit_code_two(kafka: EmbeddedBroker) -> None:
    done = subprocess.run(
        [*SHELVER, "broker", "--port", str(kafka.port)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"shelver: Port {kafka.port} on 127.0.0.1 is taken; stop what uses it,"
        " or choose another (0: a free one)."
    ]
