"""`shelver watch` on a real broker: everything that comes out, in lines, JSON and a live table."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from schemas.assignments import (
    AssignedCategory,
    CategoryAssigned,
    ImageUse,
    Modalities,
    ModelReference,
    SourceReference,
    TextUse,
)
from schemas.codec import encode
from schemas.dead_letters import Failure, Reason, Stage, dead_letter_headers
from stream_app.broker import EmbeddedBroker
from stream_app.broker_config import free_port

PROJECT = Path(__file__).parents[2]
SHELVER = [sys.executable, "-c", "from stream_app.cli import main; main()"]
NAMES = ("product-listed", "category-assigned", "product-listed.dead-letter", "category-explained")
VARIABLES = (
    "PRODUCT_LISTED_TOPIC",
    "CATEGORY_ASSIGNED_TOPIC",
    "DEAD_LETTER_TOPIC",
    "CATEGORY_EXPLAINED_TOPIC",
)

TopicNames = Callable[[str], str]
CreateTopics = Callable[..., Awaitable[None]]


@pytest.fixture
def environment(kafka: EmbeddedBroker, topic_names: TopicNames) -> dict[str, str]:
    topics = {f"SHELVER_{name}": topic_names(topic) for name, topic in zip(VARIABLES, NAMES, strict=True)}
    return {**os.environ, **topics, "SHELVER_BROKER": kafka.url, "COLUMNS": "150", "LINES": "40"}


async def start_watch(environment: dict[str, str], *arguments: str, stdout: int = subprocess.PIPE) -> Process:
    return await asyncio.create_subprocess_exec(
        *SHELVER, "watch", *arguments, cwd=PROJECT, env=environment, stdout=stdout, stderr=subprocess.PIPE
    )


async def next_line(command: Process) -> str:
    assert command.stderr is not None
    return (await command.stderr.readline()).decode()


async def let_come_out(kafka: EmbeddedBroker, topic_names: TopicNames, num_events: int) -> None:
    """Listings, then a category for each but the last, which is a dead letter."""
    listed, assigned, dead, _ = map(topic_names, NAMES)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        places = [await producer.send_and_wait(listed, b"{}") for _ in range(num_events)]
        for number, place in enumerate(places[:-1]):
            message = CategoryAssigned(
                assignment_id=f"a-{number}",
                event_id=f"e-{number}",
                product_id=f"product-{number}",
                category=AssignedCategory(code=2583, label="Piscines", probability=0.5),
                modalities=Modalities(text=TextUse.USED, image=ImageUse.ABSENT),
                model=ModelReference(name="fusion", version="1"),
                source=SourceReference(topic=listed, partition=place.partition, offset=place.offset),
                assigned_at=datetime.now(UTC),
            )
            await producer.send_and_wait(assigned, encode(message), key=message.product_id.encode())
        source = f"{listed}-{places[-1].partition}-{places[-1].offset}"
        failure = Failure(Stage.DECODE, Reason.MALFORMED, "not JSON", source)
        await producer.send_and_wait(dead, b"{", key=b"bad", headers=dead_letter_headers(failure))


async def test_what_comes_out_is_one_json_object_a_line_with_its_age(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics, environment: dict[str, str]
) -> None:
    await create_topics(*map(topic_names, NAMES), num_partitions=2)
    await let_come_out(kafka, topic_names, 2)
    command = await start_watch(environment, "--json-lines", "--limit", "20")
    assert (await next_line(command)).startswith(f"Watching {kafka.url}")
    await let_come_out(kafka, topic_names, 20)
    stdout, stderr = await command.communicate()
    assert command.returncode == 0, stderr
    lines = [json.loads(line) for line in stdout.splitlines()]
    kinds = {line["product_id"]: line["kind"] for line in lines}
    assert kinds == {**{f"product-{n}": "category-assigned" for n in range(19)}, "bad": "dead-letter"}
    assert all(0 <= line["latency_ms"] < 60_000 for line in lines)


async def test_from_the_beginning_tells_what_the_topics_hold_in_lines(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics, environment: dict[str, str]
) -> None:
    await create_topics(*map(topic_names, NAMES))
    await let_come_out(kafka, topic_names, 3)
    command = await start_watch(environment, "--from-beginning", "--no-latency", "--limit", "3")
    stdout, stderr = await command.communicate()
    assert command.returncode == 0, stderr
    lines = stdout.decode().splitlines()
    assert len(lines) == 3
    assert any("product-0  2583 Piscines  50.0%  text  -" in line for line in lines)
    assert any("bad  dead letter: malformed (decode): not JSON" in line for line in lines)


async def test_it_waits_for_topics_that_do_not_exist_yet(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics, environment: dict[str, str]
) -> None:
    command = await start_watch(environment, "--limit", "1")
    waiting = await next_line(command)
    assert waiting.startswith("Waiting for ")
    assert all(topic_names(name) in waiting for name in NAMES)
    await create_topics(*map(topic_names, NAMES))
    assert (await next_line(command)).startswith("Watching ")
    await let_come_out(kafka, topic_names, 1)
    stdout, _ = await command.communicate()
    assert len(stdout.splitlines()) == 1


async def test_a_terminal_gets_a_live_table_and_ctrl_c_ends_it(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics, environment: dict[str, str]
) -> None:
    await create_topics(*map(topic_names, NAMES))
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    command = await start_watch({**environment, "TERM": "xterm"}, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        assert (await next_line(command)).startswith("Watching ")
        await let_come_out(kafka, topic_names, 3)
        while b"2 categories, 1 dead letters" not in shown:
            await asyncio.sleep(0.05)
            try:
                shown += os.read(ours, 65_536)
            except BlockingIOError:
                continue
        command.send_signal(signal.SIGINT)
        _, stderr = await command.communicate()
    finally:
        os.close(ours)
    assert command.returncode == 0, stderr
    assert "product-1" in shown.decode()
    assert "malformed" in shown.decode()


def test_a_missing_broker_is_one_line_and_exit_code_two() -> None:
    nobody = f"kafka://127.0.0.1:{free_port()}"
    done = subprocess.run(
        [*SHELVER, "watch", "--broker", nobody], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"shelver: no Kafka answers at {nobody}; start one with ")
