"""`shelver models`: what is in the repository, what an alias means, and whether all of it is sound."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.promotion import DEFAULT_TOLERANCE
from stream_app.commands.finite import finite
from stream_app.commands.repository_options import DEFAULT_ROOT, Cache, Root, open_repository
from stream_app.model_listing import VersionSummary, describe, summarise
from stream_app.promoting import promote_checked

if TYPE_CHECKING:
    from models.repository import ModelLocation, ModelRepository, ModelSpec

models = typer.Typer(
    name="models",
    no_args_is_help=True,
    add_completion=False,
    help="List, show, promote, roll back and verify model versions.",
)

Spec = Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="The version meant.")]
Alias = Annotated[str, typer.Option("--as", help="The alias that shall mean another version.")]
Specs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME[@VERSION|@ALIAS]]...", help="The versions meant; by default every one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


@models.command("list")
def list_versions(root: Root = DEFAULT_ROOT, cache: Cache = None, as_json: AsJson = False) -> None:
    """List every version with its aliases and its score on validation rows."""
    repository = open_repository(root, cache)
    summaries = summarise(repository)
    if as_json:
        _print_json({"repository": repository.root, "versions": [asdict(summary) for summary in summaries]})
        return
    if not summaries:
        print(f"There is no model in {repository.root} yet: `shelver train` puts one there.")
        return
    lines = [_line(summary) for summary in summaries]
    _print_table(("Model", "Version", "Aliases", "Weighted F1", "Rows", "Written"), lines)


@models.command()
def show(
    model: Spec,
    root: Root = DEFAULT_ROOT,
    cache: Cache = None,
    as_json: AsJson = False,
    card: Annotated[
        bool, typer.Option("--card", help="Print the model card, Markdown, and nothing else.")
    ] = False,
) -> None:
    """Show what a version is: encoders, categories, scores, data, libraries and files.

    Raises:
        ModelError: there is no such version, or it is damaged.
    """
    from models.version_files import read_card

    repository = open_repository(root, cache)
    location = repository.outline(model)
    if card:
        print(read_card(location.folder))
        return
    description = describe(location, _aliases(repository, location))
    if as_json:
        _print_json(description)
        return
    _print_table(("Field", "Value"), _flatten(description))


@models.command()
def promote(
    *,
    model: Spec,
    alias: Alias = "champion",
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="CATALOGUE",
            help="Compare on the labelled rows of this catalogue that neither version has learnt from.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, callback=finite, help="Weighted F1 that the version may lack.")
    ] = DEFAULT_TOLERANCE,
    force: Annotated[bool, typer.Option("--force", help="Promote without a comparison.")] = False,
    root: Root = DEFAULT_ROOT,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Make an alias mean a version, unless it is damaged or scores worse than the one it would replace.

    Every byte and the golden scores of the version are checked. Both versions are compared on the same rows:
    those held out, where these are the same, or of a catalogue, which takes --data. The first version of an
    alias is compared with none, nor is one that becomes `challenger`, which never serves. An alias that is
    damaged is not set anew without --force. Workers that follow the alias take the version over.

    Raises:
        ModelError: there is no such version, it is damaged, it scores worse, or there are no rows to compare
            it on; or the alias cannot be one.
        CatalogueError: the data cannot be read, or has no labelled row.
    """
    repository = open_repository(root, cache)
    promotion = promote_checked(repository, model, alias, data=data, tolerance=tolerance, force=force)
    location, previous, comparison = promotion
    if as_json:
        told = {"name": location.name, "alias": alias, "version": location.version}
        compared = None if comparison is None else comparison.to_json()
        _print_json(told | {"previous_version": previous, "comparison": compared})
        return
    before = f", before it was {previous}" if previous else ""
    print(f"{location.name}@{alias} now is version {location.version}{before}.")
    if comparison is not None:
        print(comparison)


@models.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model.")],
    alias: Alias = "champion",
    root: Root = DEFAULT_ROOT,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Make an alias mean the version that it meant before, checked as `promote` does; again: further back.

    Raises:
        ModelError: there is no such alias, it meant nothing before, or that version is damaged.
    """
    from models.bundle import verify_bundle

    repository = open_repository(root, cache)
    previous, *before = repository.history(name, alias) or ("",)
    for version in before[:1]:
        verify_bundle(repository.resolve(f"{name}@{version}").folder)
    location = repository.rollback(name, alias)
    if as_json:
        _print_json({"name": name, "alias": alias, "version": location.version, "previous_version": previous})
        return
    print(f"{name}@{alias} is version {location.version} again, it was {previous}.")


@models.command()
def verify(
    specs: Specs = None, root: Root = DEFAULT_ROOT, cache: Cache = None, as_json: AsJson = False
) -> None:
    """Check every byte of versions and score their golden products; exit 1 when one is not sound.

    Raises:
        RepositoryError: there is no such version.
        Exit: a version is not sound.
    """
    repository = open_repository(root, cache)
    wanted = [repository.meant(spec) for spec in specs] if specs else _every(repository)
    results = [_verified(repository, version) for version in wanted]
    if as_json:
        _print_json({"repository": repository.root, "versions": results})
    else:
        for result in results:
            print(f"{result['name']}@{result['version']}: {_verdict(result)}")
    if not all(result["sound"] for result in results):
        raise typer.Exit(1)


def _line(summary: VersionSummary) -> tuple[str, ...]:
    score = "-" if summary.weighted_f1 is None else f"{summary.weighted_f1:.4f}"
    rows = "-" if summary.rows is None else f"{summary.rows}"
    written = summary.created_at or summary.error or ""
    return summary.name, summary.version, ", ".join(summary.aliases), score, rows, written


def _verified(repository: ModelRepository, wanted: ModelSpec) -> dict[str, Any]:
    from models.bundle import verify_bundle
    from models.errors import BundleError

    result = {"name": wanted.name, "version": wanted.version}
    try:
        difference = verify_bundle(repository.resolve(wanted).folder)
    except BundleError as error:
        return result | {"sound": False, "error": str(error)}
    return result | {"sound": True, "golden_difference": difference}


def _verdict(result: dict[str, Any]) -> str:
    if not result["sound"]:
        return str(result["error"])
    return f"sound; golden scores differ by {result['golden_difference']:.1e} at most"


def _every(repository: ModelRepository) -> list[ModelSpec]:
    from models.repository import ModelSpec

    return [ModelSpec(name, version) for name in repository.names() for version in repository.versions(name)]


def _aliases(repository: ModelRepository, location: ModelLocation) -> list[str]:
    aliases = repository.aliases(location.name).items()
    return [alias for alias, version in aliases if version == location.version]


def _flatten(document: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """One line a value; lists, and categories one by one, are left to --json."""
    lines: list[tuple[str, str]] = []
    for key, value in document.items():
        if isinstance(value, dict):
            lines += _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            continue
        else:
            lines.append(
                (prefix + key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            )
    return lines


def _print_json(document: dict[str, Any]) -> None:
    print(json.dumps(document))


def _print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD)
    for line in lines:
        table.add_row(*map(escape, line))
    Console().print(table)
