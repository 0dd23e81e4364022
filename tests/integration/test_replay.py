"""`shelver dead-letters` without a worker: what is chosen, what goes wrong meanwhile, what is remembered."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.dead_letters import Failure, Reason, Stage, dead_letter_headers
from stream_app import letter_replay
from stream_app.broker import EmbeddedBroker
from stream_app.broker_config import free_port
from stream_app.broker_settings import BrokerSettings
from stream_app.catalogue_publishing import DeliveryError
from stream_app.letter_replay import ReplayOptions, ReplayProgress, replay
from stream_app.replaying import Refusal, Selection
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import Sent, Topics, publish
from tests.unencodable import RawName, write_raw_names

SHELVER = [sys.executable, "-c", "from stream_app.cli import main; main()"]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and all that it said."""

    code: int
    counts: dict[str, Any]
    errors: str


async def start(url: str, topics: Topics, *words: str, stderr: int = asyncio.subprocess.PIPE) -> Any:
    return await asyncio.create_subprocess_exec(
        *SHELVER,
        "dead-letters",
        *words,
        "--json",
        env={**os.environ, **topics.environment(), "SHELVER_BROKER": url, "TERM": "xterm"},
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )


async def ended(command: Any) -> Ended:
    out, errors = await asyncio.wait_for(command.communicate(), 60)
    return Ended(command.returncode, json.loads(out or b"{}"), errors.decode())


async def dead_letters(kafka: EmbeddedBroker, topics: Topics, *words: str) -> Ended:
    return await ended(await start(kafka.url, topics, *words))


def letter(number: int, source: str, *, value: bytes = b"{}", attempts: int = 1) -> Sent:
    failure = Failure(Stage.DECODE, Reason.TOO_LARGE, "large", f"{source}-0-{number}", attempts)
    return b"%d" % number, value, [*dead_letter_headers(failure)]


async def write(bootstrap: str, topics: Topics, num_letters: int) -> None:
    letters = (letter(number, topics.listed) for number in range(num_letters))
    await publish(bootstrap, topics.dead, letters)


async def read_all(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer._client._wait_on_metadata(topic)
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        num_records = sum((await consumer.end_offsets(partitions)).values())
        return [await consumer.getone() for _ in range(num_records)]


async def times_sent(bootstrap: str, topics: Topics) -> Counter[str]:
    """How often each letter is back in the topic of the listings, by its source."""
    records = await read_all(bootstrap, topics.listed)
    return Counter(dict(record.headers)["shelver.source"].decode() for record in records)


def sources(topics: Topics, num_letters: int) -> set[str]:
    return {f"{topics.listed}-0-{number}" for number in range(num_letters)}


@pytest.fixture
async def topics(topic_names: TopicNames, create_topics: CreateTopics) -> Topics:
    named = Topics.named(topic_names)
    await create_topics(named.listed, named.requested, named.corrected)
    await create_topics(named.dead, num_partitions=2)
    return named


async def run_replay(url: str, topics: Topics, progress: ReplayProgress, **options: Any) -> None:
    await replay(
        BrokerSettings(broker=url),
        topics.dead,
        f"{topics.group}.dead-letters",
        (topics.listed, topics.requested, topics.corrected),
        ReplayOptions(**{"selection": Selection(), "per_second": 1_000.0, **options}),
        progress,
    )


async def test_letters_are_chosen_by_time_and_topic_and_sent_again_only_when_that_is_said(
    kafka: EmbeddedBroker, topics: Topics
) -> None:
    await write(kafka.bootstrap, topics, 3)
    await asyncio.sleep(0.05)
    moment = datetime.now(UTC).isoformat()
    asked = [letter(number, topics.requested) for number in range(2)]
    await publish(kafka.bootstrap, topics.dead, asked)

    async def listed(*words: str) -> object:
        return (await dead_letters(kafka, topics, "list", *words)).counts["dead_letters"]

    found = await asyncio.gather(
        listed("--since", moment),
        listed("--since", "1h"),
        listed("--since", "40000d"),
        listed("--since", "2100-01-01"),
        listed("--topic", topics.requested),
        listed("--limit", "4"),
    )
    assert list(found) == [2, 5, 5, 0, 2, 4]

    async def replayed(*words: str) -> tuple[int, int]:
        counts = (await dead_letters(kafka, topics, "replay", "--rate", "1000", *words)).counts
        return counts["replayed"], counts["known"]

    assert await replayed("--topic", topics.requested, "--since", moment) == (2, 0)
    assert await replayed() == (3, 2)
    assert await replayed("--again", "--dry-run") == (5, 0)
    assert await replayed("--again", "--since", moment) == (2, 0)
    assert await replayed() == (3, 2)
    assert await replayed() == (0, 5)
    assert len(await read_all(kafka.bootstrap, topics.requested)) == 4
    assert len(await read_all(kafka.bootstrap, topics.listed)) == 6


@pytest.mark.parametrize("command", ["list", "replay"])
async def test_an_empty_topic_is_fine_a_missing_one_is_one_line(
    kafka: EmbeddedBroker, topics: Topics, create_topics: CreateTopics, command: str
) -> None:
    done = await dead_letters(kafka, topics, command)
    assert (done.code, set(map(str, done.counts.values()))) == (0, {"0", "{}"}), done.errors
    nowhere = Topics(*(f"{topics.dead}.{number}" for number in range(6)))
    done = await dead_letters(kafka, nowhere, command)
    assert done.code == 2
    assert done.errors.splitlines()[-1].startswith(f"shelver: there is no topic {nowhere.dead}")
    if command == "replay":
        await create_topics(nowhere.dead, nowhere.listed)
        done = await dead_letters(kafka, nowhere, command)
        assert done.code == 2
        assert done.errors.splitlines()[-1].startswith(
            f"shelver: there is no topic {nowhere.requested}, {nowhere.corrected} "
        )


@pytest.mark.parametrize("command", ["list", "replay"])
async def test_a_missing_broker_is_one_line_that_says_what_to_do(
    topic_names: TopicNames, command: str
) -> None:
    nobody = f"kafka://127.0.0.1:{free_port()}"
    done = await ended(await start(nobody, Topics.named(topic_names), command))
    assert done.code == 2
    assert done.errors.splitlines()[-1].startswith(f"shelver: no Kafka answers at {nobody}; start one with ")


async def test_ctrl_c_says_what_was_sent_and_the_next_replay_sends_the_rest(
    kafka: EmbeddedBroker, topics: Topics
) -> None:
    await write(kafka.bootstrap, topics, 300)
    command = await start(kafka.url, topics, "replay", "--rate", "20")
    while len(await read_all(kafka.bootstrap, topics.listed)) < 10:
        await asyncio.sleep(0.1)
    command.send_signal(signal.SIGINT)
    done = await ended(command)
    sent = done.counts["replayed"]
    assert done.code == 130, done.errors
    assert 10 <= sent < 300
    assert f"{sent} letters replayed" in done.errors
    assert "Replaying" not in done.errors, "there is no terminal to show a bar"
    assert len(await read_all(kafka.bootstrap, topics.listed)) == sent

    done = await dead_letters(kafka, topics, "replay", "--rate", "10000")
    assert (done.code, done.counts["replayed"], done.counts["known"]) == (0, 300 - sent, sent), done.errors
    assert await times_sent(kafka.bootstrap, topics) == Counter(sources(topics, 300))


async def test_a_terminal_gets_a_bar_that_leaves_what_is_refused_readable(
    kafka: EmbeddedBroker, topics: Topics
) -> None:
    letters = [letter(number, topics.listed, attempts=number % 2 * 8 + 1) for number in range(30)]
    await publish(kafka.bootstrap, topics.dead, letters)
    ours, theirs = pty.openpty()
    command = await start(kafka.url, topics, "replay", "--rate", "10", stderr=theirs)
    os.close(theirs)
    out, shown = await asyncio.wait_for(asyncio.gather(command.stdout.read(), read_pty(ours)), 60)
    os.close(ours)
    assert (await command.wait(), json.loads(out)["refused"]) == (0, {"too_many_attempts": 15})
    assert "Replaying" in shown
    assert "30/30" in shown
    assert shown.count("it was tried 9 times; see --max-attempts\r\n") == 15
    assert "15 letters replayed, 15 refused" in shown.splitlines()[-1]


async def read_pty(ours: int) -> str:
    def read() -> str:
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # the other end is closed
                return shown.decode()

    return await asyncio.to_thread(read)


async def test_a_broker_that_goes_away_in_the_middle_costs_no_letter(
    topic_names: TopicNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letter_replay, "DELIVERY_SECONDS", 3.0)
    monkeypatch.setattr(letter_replay, "STOP_SECONDS", 0.5)
    topics, progress = Topics.named(topic_names), ReplayProgress()
    with await asyncio.to_thread(EmbeddedBroker(tmp_path).__enter__) as broker:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        await admin.create_topics(
            [
                NewTopic(name, 1, 1)
                for name in (topics.listed, topics.requested, topics.corrected, topics.dead)
            ]
        )
        await admin.close()
        await write(broker.bootstrap, topics, 200)
        progress.on_change = kill_after(broker, progress, 50)
        with pytest.raises(DeliveryError, match="the next replay may send it again"):
            await run_replay(broker.url, topics, progress)
        await asyncio.to_thread(broker.start)
        assert progress.num_replayed == 50
        assert set(await times_sent(broker.bootstrap, topics)) >= sources(topics, 50)
        rest = ReplayProgress()
        await run_replay(broker.url, topics, rest)
        assert rest.num_replayed + rest.num_known == 200
        sent = await times_sent(broker.bootstrap, topics)
    assert set(sent) == sources(topics, 200)
    assert max(sent.values()) <= 2


def kill_after(broker: EmbeddedBroker, progress: ReplayProgress, num_replayed: int) -> Callable[[], None]:
    def check() -> None:
        if progress.num_replayed == num_replayed and broker.is_running:
            broker.kill()

    return check


async def test_two_replays_at_once_may_send_a_letter_twice_but_lose_none(
    kafka: EmbeddedBroker, topics: Topics
) -> None:
    await write(kafka.bootstrap, topics, 100)
    both = ReplayProgress(), ReplayProgress()
    await asyncio.gather(*(run_replay(kafka.url, topics, each) for each in both))
    sent = await times_sent(kafka.bootstrap, topics)
    assert set(sent) == sources(topics, 100)
    assert max(sent.values()) <= 2
    assert sent.total() == sum(each.num_replayed for each in both)
    last = ReplayProgress()
    await run_replay(kafka.url, topics, last)
    assert (last.num_replayed, last.num_known) == (0, 100)


async def test_letters_of_a_topic_made_anew_were_not_dealt_with_before(
    kafka: EmbeddedBroker, topics: Topics, create_topics: CreateTopics
) -> None:
    await write(kafka.bootstrap, topics, 20)
    await run_replay(kafka.url, topics, ReplayProgress())
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_topics([topics.dead])
    while topics.dead in await admin.list_topics():
        await asyncio.sleep(0.05)
    await admin.close()
    await create_topics(topics.dead, num_partitions=2)
    await write(kafka.bootstrap, topics, 60)
    progress = ReplayProgress()
    await run_replay(kafka.url, topics, progress)
    assert (progress.num_replayed, progress.num_known) == (60, 0)


async def test_a_letter_larger_than_its_topic_takes_is_refused_and_the_others_are_sent(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics
) -> None:
    topics, progress = Topics.named(topic_names), ReplayProgress()
    await create_topics(topics.listed, topics.corrected, topics.dead)
    await create_topics(topics.requested, configs={"max.message.bytes": "20000"})
    large = b"x" * 30_000
    letters = [
        letter(number, source, value=large) for number, source in enumerate((topics.listed, topics.requested))
    ]
    await publish(kafka.bootstrap, topics.dead, [*letters, letter(2, topics.requested)])
    told: list[str] = []
    progress.on_refused = lambda _letter, why: told.append(why)
    await run_replay(kafka.url, topics, progress)
    assert (progress.num_replayed, progress.refused) == (2, {Refusal.TOO_LARGE: 1})
    assert "its topic takes 19872 bytes" in told[0]


async def test_records_of_other_programs_are_listed_whatever_they_are(
    kafka: EmbeddedBroker, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        write_raw_names(patched)
        await publish(kafka.bootstrap, topics.dead, [(b"?", None, [(RawName(b"\xff\xfe"), None)])])
    await write(kafka.bootstrap, topics, 1)
    done = await dead_letters(kafka, topics, "list", "--body", "--full")
    assert (done.code, done.counts["reasons"]) == (0, {"foreign": 1, "too_large": 1}), done.errors
