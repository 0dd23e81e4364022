"""Every `shelver` command that a page shows is one, and is run by a test."""

import re
import shlex
from pathlib import Path

import pytest

from tests.documented_commands import PROJECT, shown_commands
from tests.e2e.test_documented_commands import RUN_HERE
from tests.integration.test_backfill import PAGE as BACKFILL_PAGE
from tests.shelver_commands import parse

RUN_BY = {
    "demo": "tests/e2e/test_demo.py",
    "broker": "tests/integration/test_broker.py",
    "worker": "tests/integration/workers.py",
    "watch": "tests/integration/test_watch.py",
    "train": "tests/integration/test_training_runs.py",
    "corrections": "tests/integration/test_corrections.py",
    "gateway": "tests/integration/gateways.py",
    "console": "tests/e2e/consoles.py",
    "keys": "tests/unit/stream_app/test_keys_command.py",
    "explain": "tests/integration/test_explain.py",
    "schema": "tests/unit/stream_app/test_schema_command.py",
}
"""Where those are run that take long, or never end by themselves."""


def words_of(command: str) -> list[str]:
    return shlex.split(command.partition(" > ")[0])[1:]


@pytest.mark.parametrize("command", shown_commands())
def test_it_can_be_typed(command: str) -> None:
    if "--version" not in command:
        parse(words_of(command))


@pytest.mark.parametrize("command", shown_commands())
def test_it_is_run_by_a_test(command: str) -> None:
    if command in RUN_HERE or command in BACKFILL_PAGE.read_text(encoding="utf-8"):
        return  # all of that page are run by tests/integration/test_backfill.py
    name, *rest = words_of(command)
    told = (PROJECT / RUN_BY[name]).read_text(encoding="utf-8")
    for option in [name, *(word for word in rest if word.startswith("--"))]:
        assert re.search(rf"[\"' (]{re.escape(option)}[\"' =]", told), f"{option} is not in {RUN_BY[name]}"


def test_what_is_run_here_is_shown() -> None:
    assert RUN_HERE.keys() <= set(shown_commands())


def test_enough_are_shown() -> None:
    assert len(shown_commands()) > 30
    assert all(Path(PROJECT / path).is_file() for path in RUN_BY.values())
