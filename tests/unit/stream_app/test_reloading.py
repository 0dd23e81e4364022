"""A worker follows what the name of its model means, and keeps what serves where it cannot."""

import asyncio
import gc
import logging
import shutil
import threading
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from models.cascade import Cascade
from models.errors import CascadeError
from models.repository import ModelLocation, ModelRepository
from models.runtime import Classifier
from stream_app.inference import LoadedVersion, warm_up
from stream_app.metric_labels import ModelRole
from stream_app.metrics import ServiceMetrics
from stream_app.reloading import MAX_RETRY_SECONDS, ModelFollower, ModelSource, Retry
from tests.tiny_models import TINY_KINDS, write_tiny_bundle

NAME = "tiny@champion"


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """Two versions that score differently; the first is the champion."""
    for version in ("1", "2"):
        write_tiny_bundle(tmp_path / "tiny" / version, version=version, seed=int(version))
    found = ModelRepository(tmp_path)
    found.promote("tiny@1", "champion")
    return found


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


def load(location: ModelLocation) -> LoadedVersion:
    """As a worker does, with encoders that a test can afford."""
    version = LoadedVersion(Classifier.load(location.folder, kinds=TINY_KINDS))
    version.classifier.check_golden()
    warm_up(version.classifier, 8, version.cap)
    return version


def following(
    repository: ModelRepository,
    metrics: ServiceMetrics,
    *,
    load: Callable[[ModelLocation], LoadedVersion] = load,
    serving: str | None = "tiny@1",
    interval_seconds: float = 1e-9,
) -> tuple[ModelFollower, list[LoadedVersion]]:
    taken: list[LoadedVersion] = []
    follower = ModelFollower(
        ModelSource(NAME, lambda: repository.resolve(NAME), load),
        take=taken.append,
        told=metrics.reloads[ModelRole.SERVING],
        interval_seconds=interval_seconds,
        serving=serving,
    )
    return follower, taken


def value(metrics: ServiceMetrics, series: str) -> float:
    body, _ = metrics.exposition()
    return next(
        float(line.rsplit(" ", 1)[1]) for line in body.decode().splitlines() if line.startswith(series)
    )


def swapped(metrics: ServiceMetrics) -> float:
    return value(metrics, 'shelver_model_reloads_total{outcome="swapped",role="serving"}')


def refused(metrics: ServiceMetrics) -> float:
    return value(metrics, 'shelver_model_reloads_total{outcome="refused",role="serving"}')


def refuses(metrics: ServiceMetrics) -> float:
    return value(metrics, 'shelver_model_refused{role="serving"}')


async def test_the_version_that_an_alias_is_given_serves_and_is_loaded_once(
    repository: ModelRepository, metrics: ServiceMetrics
) -> None:
    follower, taken = following(repository, metrics)
    await follower.look()
    assert not taken
    repository.promote("tiny@2", "champion")
    for _ in range(3):
        await follower.look()
    assert [str(version) for version in taken] == ["tiny@2"]
    assert follower.serving == "tiny@2"
    assert (swapped(metrics), refused(metrics), refuses(metrics)) == (1, 0, 0)


async def test_what_is_asked_for_is_loaded_where_nothing_serves_yet(
    repository: ModelRepository, metrics: ServiceMetrics
) -> None:
    follower, taken = following(repository, metrics, serving=None)
    await follower.look()
    assert [str(version) for version in taken] == ["tiny@1"]


def refused_reason(follower: ModelFollower) -> str | None:
    return None if follower.refusal is None else follower.refusal.reason


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(data[: len(data) // 2])


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def take_files_of_another(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("1"), folder)


SPOILS = pytest.mark.parametrize("spoil", [cut, lose_weights, take_files_of_another])


@SPOILS
async def test_a_version_that_cannot_be_loaded_is_refused_until_it_is_whole(
    repository: ModelRepository,
    metrics: ServiceMetrics,
    spoil: Callable[[Path], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sound = tmp_path / "sound"
    shutil.copytree(tmp_path / "tiny" / "2", sound)
    spoil(tmp_path / "tiny" / "2")
    repository.promote("tiny@2", "champion")
    follower, taken = following(repository, metrics)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await follower.look()
    assert not taken
    assert follower.serving == "tiny@1"
    assert follower.refusal is not None
    assert follower.refusal.asked == "tiny@2"
    assert "\n" not in follower.refusal.reason
    assert [record.getMessage() for record in caplog.records] == [
        f"tiny@2 is refused: {follower.refusal.reason}; tiny@1 goes on"
    ]
    assert (swapped(metrics), refused(metrics), refuses(metrics)) == (0, 3, 1)
    shutil.rmtree(tmp_path / "tiny" / "2")
    shutil.copytree(sound, tmp_path / "tiny" / "2")
    await follower.look()
    assert [str(version) for version in taken] == ["tiny@2"]
    assert refused_reason(follower) is None
    assert (swapped(metrics), refuses(metrics)) == (1, 0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CascadeError("no threshold"), "no threshold"),
        (
            torch.OutOfMemoryError("CUDA out of memory.\nTried to\n"),
            "OutOfMemoryError: CUDA out of memory. Tr",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RecursionError(), "RecursionError"),
    ],
)
async def test_whatever_goes_wrong_while_loading_leaves_what_serves(
    repository: ModelRepository, metrics: ServiceMetrics, error: Exception, told: str
) -> None:
    def fail(_location: ModelLocation) -> LoadedVersion:
        raise error

    repository.promote("tiny@2", "champion")
    follower, taken = following(repository, metrics, load=fail)
    await follower.look()
    assert not taken
    assert follower.refusal is not None
    assert told in follower.refusal.reason
    repository.promote("tiny@1", "champion")
    await follower.look()
    assert refused_reason(follower) is None
    assert refuses(metrics) == 0


async def test_an_alias_that_is_gone_leaves_what_serves(
    repository: ModelRepository, metrics: ServiceMetrics, tmp_path: Path
) -> None:
    follower, taken = following(repository, metrics)
    (tmp_path / "tiny" / "aliases" / "champion").unlink()
    await follower.look()
    assert follower.refusal is not None
    assert (follower.refusal.asked, refuses(metrics)) == (NAME, 1)
    repository.promote("tiny@1", "champion")
    await follower.look()
    assert (refused_reason(follower), refuses(metrics), len(taken)) == (None, 0, 0)


async def test_what_is_refused_is_told_again_after_the_repository_was_away(
    repository: ModelRepository, metrics: ServiceMetrics, tmp_path: Path
) -> None:
    cut(tmp_path / "tiny" / "2")
    repository.promote("tiny@2", "champion")
    follower, _ = following(repository, metrics, interval_seconds=3_600)
    await follower.look()
    told = refused_reason(follower)
    aliases = tmp_path / "tiny" / "aliases"
    aliases.rename(tmp_path / "aliases")
    await follower.look()
    assert refused_reason(follower) != told
    (tmp_path / "aliases").rename(aliases)
    await follower.look()
    assert refused_reason(follower) == told
    assert (refused(metrics), refuses(metrics)) == (1, 1)


async def test_a_version_is_not_taken_when_its_alias_has_moved_on_while_it_was_loaded(
    repository: ModelRepository, metrics: ServiceMetrics
) -> None:
    def load_slowly(location: ModelLocation) -> LoadedVersion:
        repository.promote("tiny@1", "champion")
        return load(location)

    repository.promote("tiny@2", "champion")
    follower, taken = following(repository, metrics, load=load_slowly)
    await follower.look()
    await follower.look()
    assert not taken
    assert (follower.serving, follower.refusal) == ("tiny@1", None)


async def test_a_version_whose_folder_vanishes_goes_on_serving(
    repository: ModelRepository, metrics: ServiceMetrics, tmp_path: Path
) -> None:
    repository.promote("tiny@2", "champion")
    follower, taken = following(repository, metrics)
    await follower.look()
    shutil.rmtree(tmp_path / "tiny")
    await follower.look()
    taken[0].classifier.check_golden()
    assert follower.serving == "tiny@2"
    assert follower.refusal is not None


async def test_the_loop_turns_while_a_version_is_loaded(
    repository: ModelRepository, metrics: ServiceMetrics
) -> None:
    released = threading.Event()

    def wait_and_load(location: ModelLocation) -> LoadedVersion:
        assert released.wait(60)
        return load(location)

    repository.promote("tiny@2", "champion")
    follower, taken = following(repository, metrics, load=wait_and_load)
    looking = asyncio.create_task(follower.look())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not taken
    released.set()
    await looking
    assert [str(version) for version in taken] == ["tiny@2"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files as Linux shows them")
async def test_fifty_reloads_leave_nothing_behind(
    repository: ModelRepository,
    metrics: ServiceMetrics,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    caplog.set_level(logging.INFO)  # its handler keeps every record
    versions: list[weakref.ref[Classifier]] = []
    follower, taken = following(repository, metrics)
    request.addfinalizer(gc.enable)
    gc.disable()  # what is frozen is freed by reference counts or not at all
    for number in range(50):
        repository.promote(f"tiny@{2 - number % 2}", "champion")
        await follower.look()
        classifier = taken.pop().classifier
        metrics.model_loaded(classifier.name, classifier.version)
        versions.append(weakref.ref(classifier))
        del classifier
        if number == 1:
            before = held(metrics)
    assert len(caplog.records) >= 50
    assert held(metrics) == before
    assert [version() for version in versions] == [None] * 50
    assert swapped(metrics) == 50


def held(metrics: ServiceMetrics) -> tuple[int, int, int]:
    """Threads, open files and series."""
    for thread in threading.enumerate():
        if thread.name == "reload":  # it gave its result, and may not have ended yet
            thread.join(60)
    body, _ = metrics.exposition()
    lines = [line for line in body.splitlines() if not line.startswith(b"#")]
    return threading.active_count(), sum(1 for _ in Path("/proc/self/fd").iterdir()), len(lines)


def test_what_is_refused_is_tried_again_ever_more_seldom() -> None:
    retry, now, tries = Retry(5.0), 0.0, []
    for now in range(3_600):
        if retry.is_due("tiny@2", now):
            tries.append(now)
            retry.failed("tiny@2", now)
    assert tries[:7] == [0, 5, 15, 35, 75, 155, 315]
    assert all(later - earlier <= MAX_RETRY_SECONDS for earlier, later in pairwise(tries))
    assert retry.is_due("tiny@3", now)
    retry.failed("tiny@3", now)
    assert retry.is_due("tiny@2", now)
    assert not retry.is_due("tiny@3", now + 4)
    assert retry.is_due("tiny@3", now + 5)


@pytest.fixture
def classifier(repository: ModelRepository) -> Classifier:
    return Classifier.load(repository.resolve("tiny@1").folder, kinds=TINY_KINDS)


@pytest.mark.parametrize(
    ("cascade", "told"),
    [
        (None, "tiny@1 has no probability .*: it was trained before there was a cascade; train it again"),
        (Cascade(max_loss=0.002, threshold=None, reason="few rows"), "few rows; .*SHELVER_CASCADE=false"),
    ],
)
def test_a_version_without_a_threshold_is_refused_only_where_one_is_asked_for(
    classifier: Classifier, cascade: Cascade | None, told: str
) -> None:
    classifier.cascade = cascade
    assert LoadedVersion(classifier).cascade is None
    with pytest.raises(CascadeError, match=told):
        LoadedVersion(classifier, cascade=True)
