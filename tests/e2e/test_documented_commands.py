"""The commands of the pages that end by themselves in seconds, run as they are shown, one after the other."""

import asyncio
import csv
import io
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import islice
from pathlib import Path

import pytest

from models.bundle import BundleMetadata, read_bundle, write_bundle
from models.repository import ModelRepository
from schemas.catalogue import read_catalogue
from stream_app import cli
from stream_app.broker import EmbeddedBroker
from tests.conftest import TopicNames
from tests.integration.workers import OutputReader, Topics, Worker, listing, publish

RUN_HERE: dict[str, str] = {
    "shelver --version": "shelver",
    "shelver models list": "champion",
    "shelver models show fusion@champion": "weighted_f1",
    "shelver models show fusion": "weighted_f1",
    "shelver models verify": "sound",
    "shelver models verify fusion@champion": "sound",
    "shelver models promote fusion@2": "is version 2",
    "shelver models rollback fusion": "is version 1",
    "shelver publish CATALOGUE --limit 2000": "30 of 30 listings confirmed",
    "shelver dead-letters list": "malformed",
    "shelver dead-letters list --limit 20": "malformed",
    "shelver dead-letters list --reason malformed --body --limit 5": "no JSON",
    "shelver dead-letters list --reason too_large --body": "0 dead letters",
    "shelver dead-letters replay --rate 10": "1 ",
    "shelver evaluate fusion CATALOGUE --split val": "Weighted F1",
    "shelver evaluate fusion CATALOGUE --split val --pictures scores": "Weighted F1",
    "shelver evaluate fusion CATALOGUE --split val --explanations": "Explanations of texts",
    "shelver corrections export corrections.jsonl": "1 rows in corrections.jsonl",
    "shelver evaluate fusion corrections.jsonl": "Weighted F1",
    'shelver explain fusion --title "Robot de piscine"': "Robot",
}
"""Each with a word of what it answers; in the order in which they are run."""
SAID_IN_PROSE = {
    "shelver models show fusion --card": "# ",
    "shelver train data.root=CATALOGUE --show-config": "data:",
}
"""Options that the pages name beside a command."""

NEED_TORCH = ("models", "evaluate", "explain")
"""Run in this process, which has it: each of its own would take 5 s to import it."""

MODEL, NUM_ROWS = "fusion", 30
CORRECTION = b'{"product_id": "2", "category": {"code": 10}, "event_id": "e-2"}'


@pytest.fixture
def repository(demo_repository: Path, tmp_path: Path) -> Path:
    """The demo's model under the name that the pages use, twice."""
    root = tmp_path / "repository"
    bundle = read_bundle(ModelRepository(demo_repository).resolve("demo").folder)
    metadata = BundleMetadata(
        golden=bundle.golden.products,
        metrics=bundle.metrics,
        data_fingerprint=bundle.manifest.data_fingerprint,
        card="# Fusion\n",
    )
    for version in ("1", "2"):
        folder = root / MODEL / version
        write_bundle(folder, bundle.network, bundle.labels, name=MODEL, version=version, metadata=metadata)
    ModelRepository(root).promote(f"{MODEL}@1", "champion")
    return root


@pytest.fixture
def catalogue(sample_catalogue: Path, tmp_path: Path) -> Path:
    """A few rows of the sample catalogue, with texts alone."""
    rows = islice((row for row in read_catalogue(sample_catalogue) if row.title), NUM_ROWS)
    path = tmp_path / "products.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        written = csv.writer(file)
        written.writerow(("productid", "designation", "prdtypecode", "split"))
        written.writerows((row.product_id, row.title, row.category, "val") for row in rows)
    return path


async def test_commands_do_what_the_pages_say(
    kafka: EmbeddedBroker,
    topic_names: TopicNames,
    repository: Path,
    catalogue: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics, log = Topics.named(topic_names), tmp_path / "worker.log"
    environment = {
        **topics.environment(),
        "SHELVER_BROKER": kafka.url,
        "SHELVER_MODEL_REPOSITORY": str(repository),
        "COLUMNS": "200",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "configure_logs", lambda _settings: None)
    with Worker(kafka.bootstrap, topics, repository, log=log, model=f"{MODEL}@1") as worker:
        await worker.ready()
        async with OutputReader(kafka.bootstrap, topics) as reader:
            await publish(kafka.bootstrap, topics.listed, [(b"1", b"no JSON", []), listing(2)])
            await reader.until(2)
            await publish(kafka.bootstrap, topics.corrected, [(b"2", CORRECTION, [])])
            for command, told in {**RUN_HERE, **SAID_IN_PROSE}.items():
                words = shlex.split(command.replace("CATALOGUE", shlex.quote(str(catalogue))))
                said = await (_said_here if words[1] in NEED_TORCH else _said)(words)
                assert told in said, f"{command}: {said}"
            await reader.until(NUM_ROWS + 2)
        assert await worker.stop() == 0


async def _said(words: Sequence[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name(words[0]),
        *words[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, f"{' '.join(words)}: {said.decode()}"
    return said.decode()


async def _said_here(words: Sequence[str]) -> str:
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(cli.main, words[1:])
    assert not ended.value.code, f"{' '.join(words)}: {said.getvalue()}"
    return said.getvalue()
