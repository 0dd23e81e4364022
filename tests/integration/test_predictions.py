"""What comes out of Kafka is what `shelver evaluate` measures, for text, picture and both, in any batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.catalogue_scoring import score_rows
from models.repository import ModelRepository
from models.runtime import Classifier
from schemas.catalogue import CatalogueRow, read_catalogue
from stream_app.broker import EmbeddedBroker
from tests.conftest import CreateTopics, TopicNames
from tests.integration.workers import OutputReader, Sent, Topics, Worker, publish

TOLERANCE = 1e-4


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
    answers = {message["event_id"]: message for message in output.messages}
    for number, probabilities_C in enumerate(expected_BC):
        answer = answers[f"e-{number}"]
        best = int(np.argmax(probabilities_C))
        codes = [answer["category"], *answer["alternatives"]]  # type: ignore[misc]
        columns = [classifier.labels.index(each["code"]) for each in codes]
        assert columns[0] == best or probabilities_C[columns[0]] > probabilities_C[best] - TOLERANCE
        np.testing.assert_allclose(
            [each["probability"] for each in codes], probabilities_C[columns], rtol=0, atol=TOLERANCE
        )
