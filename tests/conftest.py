"""Markers by path, and what several tests need: a real broker, topics of their own, the real rows."""

import asyncio
import gc
import hashlib
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from importlib.metadata import version as distribution_version
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from hypothesis import HealthCheck, settings

from stream_app.broker import EmbeddedBroker
from stream_app.logs import LIBRARY_LOGGERS

# A shell that starts a run in the background has its programs ignore Ctrl-C, and theirs as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of the code.
settings.register_profile("no deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no deadline")

TESTS = Path(__file__).parent
KINDS = ("unit", "integration", "e2e")

TopicNames = Callable[[str], str]
CreateTopics = Callable[..., Awaitable[None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the marker of its folder, so that ``-m unit`` needs no marks in the files."""
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if kind in KINDS:
            item.add_marker(kind)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All tests run in two processes, as they mostly wait; what somebody chooses runs in this one."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """A run that leaves processes behind has failed."""
    yield
    left = [
        process for process in psutil.Process().children(recursive=True) if not _is_python_helper(process)
    ]
    told = [f"{process.pid} {' '.join(process.cmdline())[:200]}" for process in left]
    for process in left:
        process.kill()
    assert not told, f"left behind: {told}"


def _is_python_helper(process: psutil.Process) -> bool:
    """Trackers that multiprocessing keeps until the interpreter exits."""
    try:
        command = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return True
    return not command or "resource_tracker" in command or "forkserver" in command


@pytest.fixture(autouse=True)
def _leaks_belong_to_their_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what a test with services left open, so that its ResourceWarning fails that very test."""
    yield
    if request.node.get_closest_marker("unit") is None:
        gc.collect()


@pytest.fixture(autouse=True)
def _logs_are_as_before() -> Iterator[None]:
    """Undo what a command run in this process does to logs, which the tests after it would feel."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, threading.excepthook
    levels = {name: logging.getLogger(name).level for name in LIBRARY_LOGGERS}
    yield
    sys.excepthook, threading.excepthook = hooks
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, library_level in levels.items():
        logging.getLogger(name).setLevel(library_level)
    logging.captureWarnings(capture=False)


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedBroker]:
    """One real Kafka for the whole run; a test that stops or freezes a broker starts its own."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def topic_names() -> TopicNames:
    """``topic_names("product-listed")`` is a name no other test uses, the same each time in this test."""
    suffix = uuid4().hex[:8]
    return lambda name: f"{name}.{suffix}"


@pytest.fixture
def create_topics(kafka: EmbeddedBroker) -> CreateTopics:
    """``await create_topics("a", "b", num_partitions=4)`` on the shared broker; ``configs`` are Kafka's."""

    async def create(*names: str, num_partitions: int = 1, configs: dict[str, str] | None = None) -> None:
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            topics = [NewTopic(name, num_partitions, 1, topic_configs=configs or {}) for name in names]
            response = await admin.create_topics(topics)
            assert all(error == 0 for _, error, *_ in response.topic_errors), response
            # The answer comes before every part of the broker knows the topics.
            while any(topic["error_code"] for topic in await admin.describe_topics(list(names))):
                await asyncio.sleep(0.01)
        finally:
            await admin.close()

    return create


@pytest.fixture(scope="session")
def sample_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated catalogue that the demo's model learns from."""
    from training.samples import write_sample_catalogue

    return write_sample_catalogue(tmp_path_factory.mktemp("catalogue"), 600, 1)


@pytest.fixture(scope="session")
def demo_repository(sample_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model repository with the demo's model, ``demo@champion``, trained once for the same code.

    It is everybody's: whoever trains or promotes takes a copy.
    """
    from models.cache_dir import default_cache_dir
    from models.files import staged_folder
    from training.run import compose_config, train

    cached = default_cache_dir() / "tests" / f"demo-{_training_code_digest()}"
    if not cached.is_dir():
        with suppress(FileExistsError), staged_folder(cached) as staging:
            experiment = ["experiment=demo", f"data.root='{sample_catalogue}'"]
            train(compose_config([*experiment, f"repository='{staging / 'repository'}'"]))
    repository = tmp_path_factory.mktemp("demo") / "repository"
    shutil.copytree(cached / "repository", repository)
    before = _digests(repository)
    yield repository
    assert _digests(repository) == before, "a test has changed the repository that is everybody's"


def _digests(folder: Path) -> dict[Path, bytes]:
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in folder.rglob("*") if path.is_file()}


def _training_code_digest() -> str:
    """Of everything of ours that a trained version depends on, and of the release of torch."""
    digest = hashlib.sha256(distribution_version("torch").encode())
    rooms = (TESTS.parent / room for room in ("schemas", "models", "training"))
    for path in sorted(path for room in rooms for path in room.rglob("*") if path.suffix in {".py", ".yaml"}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def rakuten_root() -> Path:
    """The folder of real rows in the challenge's layout; a test that uses it is marked ``realdata``."""
    beside_the_project = TESTS.parent.parent / "shared" / "data" / "rakuten"
    root = Path(os.environ.get("SHELVER_TEST_RAKUTEN") or beside_the_project)
    if not (root / "X_train_update.csv").is_file():
        pytest.skip(f"no Rakuten challenge rows in {root}; set SHELVER_TEST_RAKUTEN to their folder")
    return root
