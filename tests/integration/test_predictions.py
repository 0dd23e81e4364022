"""What comes out of Kafka is what `shelver evaluate` measures, for text, picture and both, in any batch."""

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.catalogue_scoring import score_rows
from models.evidence_cache import Modality
from models.repository import ModelRepository
from models.runtime import Classifier
from schemas.catalogue import CatalogueRow, read_catalogue
from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import Output, OutputReader, Sent, Topics, Worker, publish

TOLERANCE = 1e-4
NUM_REPEATS = 50


def views(catalogue: Path) -> list[CatalogueRow]:
    """Rows held out with both modalities, each as it is, with its text alone and with its picture alone."""
    whole = [row for row in read_catalogue(catalogue) if row.split == "val" and row.image_path and row.title]
    return [
        view
        for row in whole[:40]
        for view in (row, replace(row, image_path=None), replace(row, title="", description=""))
    ]


def as_record(number: int, row: CatalogueRow) -> Sent:
    message = row.to_listing(f"e-{number}")
    return str(number).encode(), message.model_dump_json().encode(), []


@pytest.fixture
async def topics(topic_names: TopicNames, create_topics: CreateTopics) -> Topics:
    named = Topics.named(topic_names)
    await create_topics(named.listed, named.assigned, named.dead)
    return named


@pytest.mark.parametrize("max_batch", [1, 7, 64])
async def test_categories_from_kafka_are_those_that_evaluation_measures(
    kafka: EmbeddedBroker,
    topics: Topics,
    sample_catalogue: Path,
    demo_repository: Path,
    tmp_path: Path,
    max_batch: int,
) -> None:
    rows = views(sample_catalogue)
    classifier = Classifier.load(ModelRepository(demo_repository).resolve("demo@champion").folder)
    expected_BC = score_rows(classifier, rows, batch_size=32).probabilities_BC
    await publish(kafka.bootstrap, topics.listed, (as_record(*each) for each in enumerate(rows)))
    log = tmp_path / "worker.log"
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(kafka.bootstrap, topics, demo_repository, log=log, max_batch=max_batch):
            output = await reader.until(len(rows))
    assert not output.dead
    assert set(output.assigned) == {f"e-{number}" for number in range(len(rows))}
    assert_answered(classifier, output, expected_BC)


async def test_listings_that_repeat_are_answered_as_alone_though_little_is_computed_and_a_worker_is_killed(
    kafka: EmbeddedBroker, topics: Topics, sample_catalogue: Path, demo_repository: Path, tmp_path: Path
) -> None:
    rows = views(sample_catalogue)[:24]
    classifier = Classifier.load(ModelRepository(demo_repository).resolve("demo@champion").folder)
    expected_BC = score_rows(classifier, rows, batch_size=1).probabilities_BC
    repeated = [rows[number % len(rows)] for number in range(NUM_REPEATS * len(rows))]
    records = [as_record(*each) for each in enumerate(repeated)]
    await publish(kafka.bootstrap, topics.listed, records[::2])
    async with OutputReader(kafka.bootstrap, topics) as reader:
        with Worker(
            kafka.bootstrap, topics, demo_repository, log=tmp_path / "first.log", max_batch=16
        ) as worker:
            await reader.until(len(rows))
            await worker.stop(signal.SIGKILL)
        await publish(kafka.bootstrap, topics.listed, records[1::2])
        with Worker(
            kafka.bootstrap, topics, demo_repository, log=tmp_path / "second.log", max_batch=40
        ) as worker:
            output = await reader.until(len(repeated))
            hits = {each: await lookups(worker, each, "hit") for each in Modality}
            misses = {each: await lookups(worker, each, "miss") for each in Modality}
    assert not output.dead
    assert set(output.assigned) == {f"e-{number}" for number in range(len(repeated))}
    assert all(len(set(assignment_ids)) == 1 for assignment_ids in output.assigned.values())
    assert_answered(classifier, output, np.tile(expected_BC, (NUM_REPEATS, 1)))
    assert all(hits[each] > misses[each] > 0 for each in Modality), (hits, misses)


async def lookups(worker: Worker, modality: Modality, outcome: str) -> float:
    """How many texts or pictures a worker found known, or not."""
    return await worker.metric(f'shelver_evidence_lookups_total{{modality="{modality}",outcome="{outcome}"}}')


def assert_answered(classifier: Classifier, output: Output, expected_BC: NDArray[np.float32]) -> None:
    """The answer to listing number b tells the probabilities of row b."""
    for message in output.messages:
        probabilities_C = expected_BC[int(str(message["event_id"]).removeprefix("e-"))]
        best = int(np.argmax(probabilities_C))
        codes = [message["category"], *message["alternatives"]]  # type: ignore[misc]
        columns = [classifier.labels.index(each["code"]) for each in codes]
        assert columns[0] == best or probabilities_C[columns[0]] > probabilities_C[best] - TOLERANCE
        np.testing.assert_allclose(
            [each["probability"] for each in codes], probabilities_C[columns], rtol=0, atol=TOLERANCE
        )
