"""Pictures behind addresses, through a whole worker: used, shared, refused; slow ones hold nobody up."""

import asyncio
from collections import Counter
from pathlib import Path

from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import OutputReader, Topics, Worker, listing, publish
from tests.picture_server import PRIVATE, PUBLIC, PictureServer, allowing, redirect, response
from tests.pictures import USABLE

NUM_OF_EACH = 20


async def test_pictures_are_fetched_once_and_never_from_private_addresses(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, num_partitions=2)

    async def respond(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/never":
            await asyncio.sleep(60)
        if path == "/inside":
            writer.write(redirect(private.url()))
        writer.write(response(USABLE["jpeg"][0]))

    async with (
        PictureServer(response(), PRIVATE) as private,
        PictureServer(respond) as shop,
        OutputReader(kafka.bootstrap, topics) as reader,
    ):
        urls = {
            "good": shop.url("/1.jpg"),
            "inside": shop.url("/inside"),
            "private": private.url(),
            "odd": private.url(host="0x7f.2"),
            "never": shop.url("/never"),
            "elsewhere": "http://elsewhere.example/1.jpg",
        }
        records = [
            listing(number, event_id=f"{kind}-{number}", image={"url": url})
            for number in range(NUM_OF_EACH)
            for kind, url in urls.items()
        ]
        await publish(kafka.bootstrap, topics.listed, records)
        with Worker(
            kafka.bootstrap,
            topics,
            demo_repository,
            log=tmp_path / "worker.log",
            image_fetch_timeout_seconds=1,
            **allowing(PUBLIC, PRIVATE),
        ) as worker:
            output = await reader.until(len(records))
            lookups = await worker.metric("shelver_image_lookups_total")
            misses = await worker.metric('shelver_image_lookups_total{outcome="miss"}')
            assert await worker.stop() == 0
        assert private.num_connections == 0

    told = Counter(
        (str(message["event_id"]).split("-")[0], message["image_reason"]) for message in output.messages
    )
    assert told == {
        ("good", None): NUM_OF_EACH,
        ("inside", "blocked"): NUM_OF_EACH,
        ("private", "blocked"): NUM_OF_EACH,
        ("odd", "blocked"): NUM_OF_EACH,
        ("never", "timeout"): NUM_OF_EACH,
        ("elsewhere", "blocked"): NUM_OF_EACH,
    }
    requests = Counter(request.split()[1] for request in shop.requests)
    assert requests["/1.jpg"] == 1
    assert lookups > misses


async def test_a_text_does_not_wait_for_the_picture_before_it_but_one_of_the_same_product_does(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics, asked, answer = Topics.named(topic_names), asyncio.Event(), asyncio.Event()
    await create_topics(topics.listed, topics.assigned, topics.dead)

    async def respond(_path: str, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await answer.wait()
        writer.write(response(USABLE["jpeg"][0]))

    async with PictureServer(respond) as shop, OutputReader(kafka.bootstrap, topics) as reader:
        worker = Worker(
            kafka.bootstrap,
            topics,
            demo_repository,
            log=tmp_path / "worker.log",
            **allowing(PUBLIC),
        )
        pictured = listing(0, image={"url": shop.url("/1.jpg")})
        await publish(kafka.bootstrap, topics.listed, [pictured, listing(1)])
        with worker:
            assert list((await reader.until(1)).assigned) == ["e-1"]
            await asked.wait()
            await publish(kafka.bootstrap, topics.listed, [listing(2, product_id="0"), listing(3)])
            answer.set()
            await reader.until(4)
            assert await worker.stop() == 0
    events = [str(message["event_id"]) for message in reader.output.messages]
    assert sorted(events) == ["e-0", "e-1", "e-2", "e-3"]
    assert events.index("e-0") < events.index("e-2")
