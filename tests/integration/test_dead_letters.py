"""`shelver dead-letters`: what failed is listed, sent back once, and classified when its cause is mended."""

import asyncio
import json
import sys
from pathlib import Path

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import OutputReader, Sent, Topics, Worker, publish

SHELVER = [sys.executable, "-c", "from stream_app.cli import main; main()"]


async def dead_letters(
    kafka: EmbeddedBroker, topics: Topics, *words: str
) -> tuple[int, dict[str, object], str]:
    command = await asyncio.create_subprocess_exec(
        *SHELVER,
        "dead-letters",
        *words,
        "--json",
        env={**topics.environment(), "SHELVER_BROKER": kafka.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(command.communicate(), 60)
    return command.returncode or 0, json.loads(out or b"{}"), err.decode()


async def test_letters_are_listed_replayed_once_and_refused_at_the_limit(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.requested, topics.explained, num_partitions=3)
    await create_topics(topics.dead, num_partitions=1)
    large = b'{"product_id":"%d","title":"Lampe","description":"' + b"x" * 2_000 + b'"}'
    records: list[Sent] = [(b"%d" % number, large % number, []) for number in range(4)]
    records += [(b"bad", b"\x1b[31mno JSON", [("trace", b"1")])]
    await publish(kafka.bootstrap, topics.listed, records)
    log = tmp_path / "worker.log"
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=log, max_message_bytes=1_000) as worker:
            output = await reader.until(5)
            assert await worker.stop() == 0
        sources = {headers["shelver.source"] for _, _, headers in output.dead}
        await publish(kafka.bootstrap, topics.dead, [(b"foreign", b"?", [])])

        code, listed, shown = await dead_letters(kafka, topics, "list", "--body")
        assert (code, listed["reasons"]) == (0, {"too_large": 4, "malformed": 1, "foreign": 1}), shown
        assert "\x1b" not in shown
        assert "\\x1b[31mno JSON" in shown
        code, dry, shown = await dead_letters(kafka, topics, "replay", "--dry-run")
        assert (code, dry["replayed"]) == (0, 5), shown
        code, chosen, shown = await dead_letters(
            kafka, topics, "replay", "--reason", "too_large", "--limit", "2"
        )
        assert (code, chosen["replayed"], chosen["known"]) == (0, 2, 0), shown
        code, rest, shown = await dead_letters(kafka, topics, "replay", "--rate", "100")
        assert (code, rest["replayed"], rest["known"]) == (0, 3, 2), shown
        assert rest["refused"] == {"foreign": 1}
        code, nothing, shown = await dead_letters(kafka, topics, "replay")
        assert (code, nothing["replayed"], nothing["refused"]) == (0, 0, {}), shown

        with Worker(kafka.bootstrap, topics, demo_repository, log=log) as worker:
            while len(output.assigned) < 4 or len(output.dead) < 6 or b"2" not in attempts(output.dead):
                await asyncio.wait_for(read_more(reader), 60)
            assert set(output.assigned) <= {(source or b"").decode() for source in sources}
            assert output.num_duplicates == 0
            code, refused, shown = await dead_letters(kafka, topics, "replay", "--max-attempts", "2")
            assert (code, refused["replayed"], refused["refused"]) == (0, 0, {"too_many_attempts": 1}), shown
            assert await worker.stop() == 0


def attempts(dead: list[tuple[bytes | None, bytes | None, dict[str, bytes | None]]]) -> set[bytes | None]:
    return {headers.get("shelver.attempts") for _, _, headers in dead}


async def read_more(reader: OutputReader) -> None:
    await reader.read(timeout_ms=500)
