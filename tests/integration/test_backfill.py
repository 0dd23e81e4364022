"""`shelver backfill`: every listing answered by another version, whatever becomes of the runs."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.structs import OffsetAndMetadata

from models.manifest import open_manifest, seal_manifest
from models.repository import ModelRepository
from models.version_files import MANIFEST_FILE
from schemas.assignments import assignment_id
from schemas.dead_letters import Reason
from stream_app import backfilling, cli, topic_reading
from stream_app.backfill_planning import BackfillOptions, BackfillProgress, open_plan
from stream_app.backfill_ranges import Offsets, Range
from stream_app.backfilling import run_backfill
from stream_app.broker import EmbeddedBroker
from stream_app.broker_config import free_port
from stream_app.errors import ShelverError
from stream_app.settings import Settings
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import Sent, Topics, admin, committed, listing, publish

README = Path(__file__).parents[2] / "README.md"
PAGE = README.with_name(".docs") / "backfill.md"
SHELVER = [sys.executable, "-m", "stream_app"]
NUM_PARTITIONS = 3
NUM_LISTINGS = 400
MAX_BATCH = 8
BAD: list[Sent] = [
    (b"1", b"no JSON", []),
    (b"2", b'{"title": "Lampe"}', []),
    (b"3", b'{"product_id": "3", "title": " "}', []),
]
REASONS = {"malformed": 1, "invalid": 1, "empty_listing": 1}
DELISTINGS: list[Sent] = [(b"4", None, []), (b"5", None, [])]


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it said."""

    code: int
    report: Mapping[str, Any]
    errors: str


@dataclass
class Answers:
    """What is in the output topic, by event."""

    ids: dict[str, list[str]] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def repository(demo_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``demo@challenger`` is version 2."""
    root = tmp_path_factory.mktemp("versions") / "repository"
    shutil.copytree(demo_repository, root)
    shutil.copytree(root / "demo" / "1", root / "demo" / "2")
    manifest = open_manifest((root / "demo" / "2" / MANIFEST_FILE).read_bytes())
    sealed = seal_manifest(manifest.model_copy(update={"version": "2"}))
    (root / "demo" / "2" / MANIFEST_FILE).unlink()
    (root / "demo" / "2" / MANIFEST_FILE).write_bytes(sealed)
    ModelRepository(root).promote("demo@2", "challenger")
    return root


def documented() -> list[list[str]]:
    """The words after `uv run shelver` of every command of the page, for the model of the tests."""
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    in_the_readme = next(
        line for line in README.read_text("utf-8").splitlines() if "shelver backfill" in line
    )
    assert shlex.split(in_the_readme, comments=True) == commands[0]
    return [[word.replace("fusion@", "demo@") for word in words[3:]] for words in commands]


class Backfills:
    """Runs of the command on the topics of one test."""

    def __init__(self, kafka: EmbeddedBroker, topics: Topics, repository: Path, output: str) -> None:
        self._kafka = kafka
        self.output = output
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SHELVER_")},
            **topics.environment(),
            "SHELVER_BROKER": kafka.url,
            "SHELVER_MODEL_REPOSITORY": str(repository),
            "SHELVER_MAX_BATCH": str(MAX_BATCH),
        }

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *SHELVER,
            *words,
            "--output",
            self.output,
            "--json",
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def ended(self, run: asyncio.subprocess.Process) -> Ended:
        out, errors = await asyncio.wait_for(run.communicate(), 120)
        assert run.returncode is not None
        return Ended(run.returncode, json.loads(out or b"{}"), errors.decode())

    async def run(self, *words: str) -> Ended:
        return await self.ended(await self.start(*words))

    async def has_answered(self, num_events: int) -> Answers:
        """Wait until so many events are answered."""
        async with asyncio.timeout(120):
            while len((answers := await self.answers()).ids) < num_events:
                await asyncio.sleep(0.1)
        return answers

    async def answers(self) -> Answers:
        async with AIOKafkaConsumer(
            bootstrap_servers=self._kafka.bootstrap, auto_offset_reset="earliest"
        ) as consumer:
            answers = Answers()
            if self.output not in await consumer.topics():
                return answers
            partitions = [TopicPartition(self.output, number) for number in range(NUM_PARTITIONS)]
            consumer.assign(partitions)
            for _ in range(sum((await consumer.end_offsets(partitions)).values())):
                message = json.loads((await consumer.getone()).value)
                answers.ids.setdefault(message["event_id"], []).append(message["assignment_id"])
                answers.models.add(f"{message['model']['name']}@{message['model']['version']}")
            return answers


async def test_every_listing_is_answered_by_another_version_though_runs_are_killed_and_stopped(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics, repository: Path
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, num_partitions=NUM_PARTITIONS)
    listings = [listing(number, explain=True) for number in range(NUM_LISTINGS)]
    await publish(kafka.bootstrap, topics.listed, [*listings, *BAD, *DELISTINGS])
    live = {0: 7, 1: 11, 2: 13}
    await commit(kafka.bootstrap, topics, live)
    backfills = Backfills(kafka, topics, repository, topic_names("backfill"))
    since, from_the_beginning, from_offsets = documented()

    run = await backfills.start(*from_offsets)
    num_before = len((await backfills.has_answered(1)).ids)
    run.kill()
    assert (await backfills.ended(run)).code == -signal.SIGKILL

    run = await backfills.start(*since, "--rate", "40")
    await backfills.has_answered(num_before + 2 * MAX_BATCH)
    run.send_signal(signal.SIGTERM)
    stopped = await backfills.ended(run)
    assert (stopped.code, stopped.report["finished"]) == (130, False), stopped.errors
    assert "the same command goes on with them" in stopped.errors
    assert stopped.report["resumed"]

    rest = await backfills.run(*from_the_beginning)
    assert (rest.code, rest.report["finished"], rest.report["resumed"]) == (0, True, True), rest.errors
    answers = await backfills.answers()
    assert answers.models == {"demo@2"}
    meant = await events_from(kafka, topics.listed, {0: 12, 1: 8, 2: 0})
    assert {event: set(ids) for event, ids in answers.ids.items()} == {
        event: {assignment_id(event, "demo", "2")} for event in meant
    }
    num_twice = sum(map(len, answers.ids.values())) - len(meant)
    assert num_twice <= 40 + MAX_BATCH, "what was done in the second before the kill, and in flight"

    again = await backfills.run(*from_the_beginning)
    assert (again.code, again.report["read"], again.report["finished"]) == (0, 0, True), again.errors
    assert "nothing to do" in again.errors

    assert await committed(kafka.bootstrap, topics) == live
    async with admin(kafka.bootstrap) as client:
        others = {topics.assigned, topics.dead, topics.requested, topics.explained}
        assert not others & set(await client.list_topics())


async def events_from(kafka: EmbeddedBroker, topic: str, starts: Mapping[int, int]) -> set[str]:
    """The events of all sound listings from these offsets on."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer:
        partitions = {TopicPartition(topic, number): start for number, start in starts.items()}
        consumer.assign(list(partitions))
        for partition, start in partitions.items():
            consumer.seek(partition, start)
        ends = await consumer.end_offsets(list(partitions))
        records = [await consumer.getone() for _ in range(sum(ends.values()) - sum(starts.values()))]
    bad = {value for _, value, _ in [*BAD, *DELISTINGS]}
    return {json.loads(record.value)["event_id"] for record in records if record.value not in bad}


async def commit(bootstrap: str, topics: Topics, offsets: Mapping[int, int]) -> None:
    """Commit as the group of the workers."""
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=topics.group, enable_auto_commit=False
    ) as consumer:
        places = {TopicPartition(topics.listed, number): offset for number, offset in offsets.items()}
        consumer.assign(list(places))
        await consumer.commit({place: OffsetAndMetadata(offset, "") for place, offset in places.items()})


class InProcess:
    """Backfills of one topic, without the command around them."""

    def __init__(self, kafka: EmbeddedBroker, topic_names: TopicNames, repository: Path) -> None:
        self.topic = topic_names("listed")
        self.settings = Settings(
            broker=kafka.url,
            product_listed_topic=self.topic,
            device="cpu",
            inference_threads=1,
            max_batch=MAX_BATCH,
            publish_timeout_seconds=3,
        )
        self.options = BackfillOptions(
            ModelRepository(repository).resolve("demo@challenger"),
            Offsets.parse(["0"]),
            output_topic=topic_names("backfill"),
            group=topic_names("backfills"),
            share=1.0,
            dead_letter_topic=topic_names("rejected"),
        )

    async def run(
        self, stopping: asyncio.Event | None = None, progress: BackfillProgress | None = None
    ) -> BackfillProgress:
        progress = progress or BackfillProgress()
        async with open_plan(self.settings, self.options, progress) as plan:
            await run_backfill(self.settings, plan, progress, stopping or asyncio.Event())
        return progress


async def test_what_transactions_leave_at_the_end_is_passed_and_rejected_listings_go_to_their_own_topic(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics, repository: Path
) -> None:
    backfills = InProcess(kafka, topic_names, repository)
    await create_topics(backfills.topic)
    async with (
        AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, transactional_id=topic_names("sender")
        ) as producer,
        producer.transaction(),
    ):
        for key, value, _ in [*(listing(number) for number in range(20)), *BAD, *DELISTINGS]:
            await producer.send(backfills.topic, value, key=key)
    stopping = asyncio.Event()
    stopping.set()
    stopped = await backfills.run(stopping)
    assert (stopped.is_finished, stopped.resumed) == (False, False)

    progress = await backfills.run()
    assert (progress.ranges[0].end, progress.resumed) == (20 + len(BAD) + len(DELISTINGS) + 1, True)
    assert progress.is_finished
    assert (progress.num_assigned, progress.num_skipped) == (20 - stopped.num_assigned, len(DELISTINGS))
    assert progress.rejected == Counter(dict.fromkeys(map(Reason, REASONS), 1))
    letters = await ends(kafka, str(backfills.options.dead_letter_topic))
    assert (letters, await ends(kafka, backfills.options.output_topic)) == (len(BAD), 20)

    done = BackfillProgress()
    async with open_plan(backfills.settings, backfills.options, done):
        assert done.ranges == {0: Range(progress.ranges[0].end, progress.ranges[0].end)}


async def test_brokers_that_go_away_end_the_run_and_the_next_one_scores_the_rest(
    topic_names: TopicNames, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (backfilling, topic_reading):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 3.0)
    monkeypatch.setattr(backfilling, "STOP_SECONDS", 0.5)
    with await asyncio.to_thread(EmbeddedBroker(tmp_path).__enter__) as broker:
        backfills = InProcess(broker, topic_names, repository)
        backfills.options = replace(backfills.options, per_second=40)
        async with admin(broker.bootstrap) as client:
            await client.create_topics([NewTopic(backfills.topic, 1, 1)])
        await publish(broker.bootstrap, backfills.topic, map(listing, range(200)))
        progress = BackfillProgress()
        progress.on_change = lambda: broker.kill() if progress.num_done and broker.is_running else None
        with pytest.raises(ShelverError) as caught:
            await backfills.run(progress=progress)
        assert not isinstance(caught.value, ValueError), "a fault that passes ends with exit code 1"
        assert 0 < progress.num_assigned < 200
        monkeypatch.undo()
        await asyncio.to_thread(broker.start)
        backfills.options = replace(backfills.options, per_second=None)
        rest = await backfills.run()
        assert (rest.is_finished, rest.resumed) == (True, True)
        assert rest.num_assigned == 200 - progress.num_done
        assert await ends(broker, backfills.options.output_topic) >= 200


async def ends(kafka: EmbeddedBroker, topic: str) -> int:
    """Records of a topic of one partition."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer:
        partition = TopicPartition(topic, 0)
        return int((await consumer.end_offsets([partition]))[partition])


async def test_what_cannot_be_done_is_one_line_that_says_what_to_do(
    kafka: EmbeddedBroker, topic_names: TopicNames, create_topics: CreateTopics, repository: Path
) -> None:
    backfills = InProcess(kafka, topic_names, repository)

    async def refused(begin: datetime | Offsets, **settings: str) -> str:
        options = replace(backfills.options, begin=begin)
        with pytest.raises(ShelverError) as caught:
            async with open_plan(backfills.settings.model_copy(update=settings), options, BackfillProgress()):
                pass
        assert isinstance(caught.value, ValueError), "an operator's error ends with exit code 2"
        return str(caught.value)

    everything, an_hour_ago = Offsets.parse(["0"]), datetime.now(UTC) - timedelta(hours=1)
    assert (await refused(everything)).startswith(f"there is no topic {backfills.topic} at {kafka.url}; ")
    nobody = f"kafka://127.0.0.1:{free_port()}"
    assert (await refused(everything, broker=nobody)).startswith(f"no Kafka answers at {nobody}; start one")
    await create_topics(backfills.topic)
    assert "has no listing at that --offset or after" in await refused(everything)
    assert "give an earlier --since, or --offset 0" in await refused(an_hour_ago)
    assert "is behind the end of every partition" in await refused(Offsets.parse(["7"]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say where to begin: --since 7d, or --offset 0 for all listings there are"),
        (("--since", "1h", "--offset", "0"), "say where to begin"),
        (("--since", "2100-01-01"), "--since 2100-01-01 is in the future"),
        (("--since", "soon"), "--since 'soon' is no time"),
        (("--offset", "0", "--model", "demo@9"), "there is no demo@9 in"),
        (("--offset", "0", "--group", "shelver"), "group shelver is the workers'"),
        (("--offset", "0", "--topic", "old", "--output", "product-listed"), "topic product-listed is the"),
        (("--offset", "0", "--output", "category-assigned"), "topic category-assigned is the workers'"),
        (("--offset", "0", "--output", "a", "--dead-letter-topic", "a"), "topic a cannot take answers and"),
    ],
)
def test_wrong_options_are_refused_before_anybody_is_asked(
    words: tuple[str, ...],
    told: str,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)
    monkeypatch.setattr(cli, "configure_logs", lambda _: None)
    model = () if "--model" in words else ("--model", "demo@2")
    with pytest.raises(SystemExit) as caught:
        cli.main(["backfill", *words, *model, "--model-repository", str(repository)])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"shelver: {told}")
