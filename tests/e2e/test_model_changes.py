"""The life of a model while it serves: trained, promoted, spoilt, rolled back, under load all the time."""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.inputs import Product
from models.repository import ModelRepository
from models.runtime import Classifier
from models.version_files import WEIGHTS_FILE
from schemas.catalogue import read_catalogue
from stream_app.broker import EmbeddedBroker
from tests.conftest import TopicNames
from tests.integration.workers import OutputReader, Sent, Topics, Worker, listing, publish
from tests.versions import copy_version, copy_with_nan

PER_SECOND = 300
TOLERANCE = 1e-4
PATIENCE_SECONDS = 300
SHELVER = Path(sys.executable).with_name("shelver")


@pytest.mark.timeout(900)
async def test_a_model_is_changed_under_load_and_nothing_is_lost_or_mixed_up(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    demo_repository: Path,
    sample_catalogue: Path,
    tmp_path: Path,
) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(demo_repository, repository)
    texts = [(row.title, row.description) for row in read_catalogue(sample_catalogue) if row.title]
    topics, stop = Topics.named(topic_names), asyncio.Event()
    with Worker(
        kafka.bootstrap,
        topics,
        repository,
        log=tmp_path / "worker.log",
        model_reload_seconds=0.5,
        shadow_model="demo@challenger",
    ) as worker:
        await worker.ready()
        began = time.monotonic()
        load = asyncio.create_task(
            publish(kafka.bootstrap, topics.listed, _until(stop, texts), per_second=PER_SECOND)
        )
        await _shelver(repository, "train", *_training(sample_catalogue, repository))
        await _shelver(repository, "models", "promote", "demo@2", "--as", "challenger")
        await _until_told(worker, shadow={"name": "demo", "version": "2"})
        await _shelver(repository, "models", "promote", "demo@2", "--force")
        await _until_told(worker, model={"name": "demo", "version": "2"}, model_refused=None)
        await _spoil(worker, repository)
        await _challenge_half_copied(worker, repository / "demo", tmp_path)
        await _shelver(repository, "models", "rollback", "demo")
        await _until_told(worker, model={"name": "demo", "version": "2"}, model_refused=None)
        await _shelver(repository, "models", "rollback", "demo")
        await _until_told(worker, model={"name": "demo", "version": "1"}, model_refused=None)
        await asyncio.sleep(1)
        stop.set()
        num_listings = await load
        assert num_listings > PER_SECOND / 2 * (time.monotonic() - began)
        async with OutputReader(kafka.bootstrap, topics) as reader:
            output = await reader.until(num_listings)
        await worker.has_counted()
        swapped = 'shelver_model_reloads_total{outcome="swapped",role="serving"}'
        assert await worker.metric(swapped) == 2
        assert await worker.metric('shelver_shadow_events_total{outcome="same"}') > 0
        assert await worker.stop() == 0
    assert set(output.assigned) == {f"e-{number}" for number in range(num_listings)}
    assert (output.num_duplicates, output.dead) == (0, [])
    _require_scores_of_the_version_told(output.messages, texts, repository)
    _require_no_pause(output.messages)


async def _spoil(worker: Worker, repository: Path) -> None:
    """Have a version of NaN meant, which the command refuses and the worker too."""
    versions = repository / "demo"
    copy_with_nan(versions / "2", versions / "3")
    told = await _shelver(repository, "models", "promote", "demo@3", "--force", expect=2)
    assert "NaN" in told or "not finite" in told
    ModelRepository(repository).promote("demo@3", "champion")  # as a tool that looks at nothing does
    report = await _until_told(worker, model={"name": "demo", "version": "2"}, refused="demo@3")
    assert worker.get("/readyz")[0] == 200
    assert "\n" not in report["model_refused"]["reason"]


async def _challenge_half_copied(worker: Worker, versions: Path, folder: Path) -> None:
    """Copy a version slowly, already meant while its weights are cut; it is taken when it is whole."""
    copy_version(versions / "2", folder / "4")
    (versions / "4").mkdir()
    for path in sorted((folder / "4").iterdir()):
        content = path.read_bytes()
        (versions / "4" / path.name).write_bytes(content if path.name != WEIGHTS_FILE else content[:1_000])
    ModelRepository(versions.parent).promote("demo@4", "challenger")
    report = await _until_told(
        worker, shadow={"name": "demo", "version": "2"}, refused="demo@4", role="shadow"
    )
    assert "cut" in report["shadow_refused"]["reason"]
    shutil.copy(folder / "4" / WEIGHTS_FILE, versions / "4" / WEIGHTS_FILE)
    await _until_told(worker, shadow={"name": "demo", "version": "4"}, shadow_refused=None)


def _until(stop: asyncio.Event, texts: Sequence[tuple[str, str]]) -> Iterator[Sent]:
    number = 0
    while not stop.is_set():
        title, description = texts[number % len(texts)]
        yield listing(number, title=title, description=description)
        number += 1


def _training(catalogue: Path, repository: Path) -> list[str]:
    """Of a version that differs, in seconds: from fewer rows, by another seed."""
    return [
        "experiment=demo",
        f"data.root='{catalogue}'",
        "data.limit=200",
        "seed=7",
        f"repository='{repository}'",
        "image.epochs=20",
        "run_dir=null",
    ]


async def _shelver(repository: Path, *arguments: str, expect: int = 0) -> str:
    """Run a command as a user types it; what it said."""
    process = await asyncio.create_subprocess_exec(
        SHELVER,
        *arguments,
        env={**os.environ, "SHELVER_MODEL_REPOSITORY": str(repository)},
        cwd=repository.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == expect, f"shelver {' '.join(arguments)}: {said.decode()[-2000:]}"
    return said.decode()


async def _until_told(
    worker: Worker, *, refused: str | None = None, role: str = "model", **parts: Any
) -> dict[str, Any]:
    """Wait until the readiness report has these parts, and that version is refused for that role."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            _, body = await asyncio.to_thread(worker.get, "/readyz")
            report: dict[str, Any] = json.loads(body or "{}")
            asked = (report.get(f"{role}_refused") or {}).get("asked")
            if (refused is None or asked == refused) and parts.items() <= report.items():
                return report
            await asyncio.sleep(0.1)


def _version(message: Mapping[str, Any]) -> str:
    return str(message["model"]["version"])


def _require_no_pause(messages: Sequence[Mapping[str, Any]]) -> None:
    """From one version to the next it takes no longer than between two categories without a change.

    A second is allowed in any case: loading takes longer than that. `tests/perf/reloads.py` measures it.
    """
    answers = sorted(
        (datetime.fromisoformat(str(each["assigned_at"])).timestamp(), _version(each)) for each in messages
    )
    gaps: dict[bool, list[float]] = {True: [], False: []}
    for (earlier, before), (later, after) in pairwise(answers):
        gaps[before != after].append(later - earlier)
    assert {answers[0][1], answers[-1][1]} == {"1"}
    assert {version for _, version in answers} == {"1", "2"}
    assert max(gaps[True]) <= max(1.0, *gaps[False])


def _require_scores_of_the_version_told(
    messages: Sequence[Mapping[str, Any]], texts: Sequence[tuple[str, str]], repository: Path
) -> None:
    """Each message has the category and the probability that the version it names gives to its text."""
    products = [Product(title, description) for title, description in texts]
    best = {}
    for version in ("1", "2"):
        classifier = Classifier.load(ModelRepository(repository).resolve(f"demo@{version}").folder)
        scores = classifier.score(classifier.prepare(products)).probabilities_BC
        best[version] = [
            (classifier.labels.codes[row.argmax()], float(row.max())) for row in np.asarray(scores)
        ]
    differ = [abs(one - other) > 10 * TOLERANCE for (_, one), (_, other) in zip(*best.values(), strict=True)]
    assert sum(differ) > 0.9 * len(differ)  # else nothing could be told apart
    for message in messages:
        number = int(str(message["event_id"]).removeprefix("e-"))
        code, probability = best[_version(message)][number % len(texts)]
        category: Any = message["category"]
        assert category["code"] == code
        assert abs(category["probability"] - probability) < TOLERANCE
