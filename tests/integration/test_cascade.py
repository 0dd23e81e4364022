"""The cascade through a whole worker: pictures of certain texts are never asked for, all others are used."""

import asyncio
import shutil
from pathlib import Path

import numpy as np

from models.catalogue_scoring import score_rows
from models.manifest import encode_json
from models.repository import ModelRepository
from models.runtime import Classifier
from models.version_files import METRICS_FILE, read_metrics
from schemas.catalogue import CatalogueRow, read_catalogue
from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import OutputReader, Sent, Topics, Worker, listing, publish
from tests.picture_server import PUBLIC, PictureServer, allowing, response
from tests.pictures import USABLE
from tests.versions import replace_files

NEAR_THE_THRESHOLD = 1e-3
TOLERANCE = 1e-4


def texts(catalogue: Path) -> list[CatalogueRow]:
    """Rows with a text, as if they had no picture."""
    rows = [row for row in read_catalogue(catalogue) if row.split == "val" and row.title]
    return [CatalogueRow(row.product_id, row.title, row.description) for row in rows]


async def test_certain_texts_skip_their_picture_and_all_others_use_it(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    create_topics: CreateTopics,
    sample_catalogue: Path,
    demo_repository: Path,
    tmp_path: Path,
) -> None:
    topics = Topics.named(topic_names)
    await create_topics(topics.listed, topics.assigned, topics.dead, topics.requested, topics.explained)
    classifier = Classifier.load(ModelRepository(demo_repository).resolve("demo@champion").folder)
    assert classifier.cascade is not None
    threshold = classifier.cascade.threshold
    assert threshold is not None
    rows = texts(sample_catalogue)
    alone_BC = score_rows(classifier, rows).probabilities_BC
    sure_B = alone_BC.max(axis=1)
    clear = np.flatnonzero(np.abs(sure_B - threshold) > NEAR_THE_THRESHOLD).tolist()
    certain = {number for number in clear if sure_B[number] >= threshold}
    explained = min(certain)
    skipped = certain - {explained}
    assert skipped
    assert set(clear) - certain

    async def respond(_path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(response(USABLE["jpeg"][0]))

    def record(number: int, shop: PictureServer) -> Sent:
        return listing(
            number,
            title=rows[number].title,
            description=rows[number].description,
            image={"url": shop.url(f"/{number}")},
            explain=number == explained,
        )

    async with PictureServer(respond) as shop, OutputReader(kafka.bootstrap, topics) as reader:
        await publish(kafka.bootstrap, topics.listed, [record(number, shop) for number in clear])
        with Worker(
            kafka.bootstrap,
            topics,
            demo_repository,
            log=tmp_path / "worker.log",
            cascade=True,
            **allowing(PUBLIC),
        ) as worker:
            output = await reader.until(len(clear))
            await worker.has_counted()
            num_skipped = await worker.metric('shelver_images_total{outcome="skipped"}')
            assert await worker.stop() == 0
    answers = {str(message["event_id"]): message for message in output.messages}
    use = {number: answers[f"e-{number}"]["modalities"]["image"] for number in clear}  # type: ignore[index]
    assert use == {number: "skipped" if number in skipped else "used" for number in clear}
    for number in skipped:
        category = answers[f"e-{number}"]["category"]
        assert abs(category["probability"] - sure_B[number]) < TOLERANCE  # type: ignore[index]
    asked = {request.split()[1] for request in shop.requests}
    assert asked == {f"/{number}" for number in set(clear) - skipped}
    assert num_skipped == len(skipped)


async def test_a_worker_does_not_start_with_a_version_that_does_not_know_when_a_text_is_certain(
    kafka: EmbeddedBroker, topic_names: TopicNames, demo_repository: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(demo_repository, repository)
    forget_cascade(ModelRepository(repository).resolve("demo@champion").folder)
    log = tmp_path / "worker.log"
    with Worker(kafka.bootstrap, Topics.named(topic_names), repository, log=log, cascade=True) as worker:
        assert await worker.exit_code() == 2
    told = log.read_text()
    assert "demo@1 has no probability from which on a text alone is certain: it was trained before" in told
    assert "Traceback" not in told


def forget_cascade(folder: Path) -> None:
    """Make a version one of a release that had no cascade."""
    metrics = read_metrics(folder)
    del metrics["cascade"]
    replace_files(folder, {METRICS_FILE: encode_json(metrics, METRICS_FILE)})
