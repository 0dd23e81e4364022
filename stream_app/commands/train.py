"""`shelver train`: a new version in the repository."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.repository import ModelLocation
    from training.version import TrainedVersion


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Hydra overrides, such as data.root=FOLDER text=transformer trainer.max_epochs=3."
        ),
    ] = None,
    multirun: Annotated[
        bool,
        typer.Option("--multirun", "-m", help="Train once for each combination of values: text.epochs=4,6."),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN_FOLDER", help="Go on with a run that was interrupted; takes no overrides."),
    ] = None,
    first: Annotated[
        bool,
        typer.Option(
            "--first", help="Leave at once where the repository has a version of that name already."
        ),
    ] = False,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the configuration of the run and leave.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, the last line of output.")
    ] = False,
) -> None:
    """Train a model; ends with a new version in the repository.

    `data.root` is a folder in the challenge's layout, a CSV, TSV, JSON Lines or Parquet file. The groups are
    model, data, text, image, fusion, optimizer, trainer, callbacks, logger and experiment; name, repository,
    model_cache, seed, promote and run_dir stand at the top.

        shelver train data.root=FOLDER
        shelver train data.root=FOLDER image.weights=mobilenet_v2.pth text.epochs=6
        shelver train data.root=FOLDER -m text.dropout=0.3,0.5

    Each run has a folder below `runs`: its configuration, TensorBoard and CSV curves, and checkpoints that
    `--resume` goes on from.

    Raises:
        SettingsError: an override does not fit.
        ShelverError: the catalogue, the weights or the repository cannot be used.
    """
    from stream_app.errors import SettingsError

    if resume is not None and (overrides or multirun or first):
        raise SettingsError(
            "--resume goes on with the configuration that the run began with; leave the rest out"
        )
    with _overrides_checked():
        if show_config:
            _show_config(overrides or ())
            return
        if first and (newest := _newest_version(overrides or ())) is not None:
            typer.echo(f"{newest} is there already, nothing is trained", err=True)
            if as_json:
                typer.echo(json.dumps({"model": str(newest), "trained": False}))
            return
        trained = _run(overrides or (), resume, multirun=multirun)
    _report(trained, as_json=as_json, multirun=multirun)


@contextmanager
def _overrides_checked() -> Iterator[None]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from stream_app.errors import SettingsError

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(f"these overrides do not fit: {str(error).splitlines()[0]}") from error


def _show_config(overrides: Sequence[str]) -> None:
    from omegaconf import OmegaConf

    from training.run import compose_config

    typer.echo(OmegaConf.to_yaml(compose_config(overrides)).rstrip())


def _newest_version(overrides: Sequence[str]) -> ModelLocation | None:
    """The newest version of the name that would be trained; None where there is none."""
    from training.run import compose_config
    from training.version import repository_of

    cfg = compose_config(overrides)
    models = repository_of(cfg)
    return models.outline(cfg.name) if models.versions(cfg.name) else None


def _run(overrides: Sequence[str], resume: Path | None, *, multirun: bool) -> list[TrainedVersion]:
    if resume is None:
        from training.launch import launch

        return launch(overrides, multirun=multirun)
    from training.run import train as run
    from training.run_folder import read_config

    trained = run(read_config(resume), resume=True)
    return [] if trained is None else [trained]


def _report(trained: Sequence[TrainedVersion], *, as_json: bool, multirun: bool) -> None:
    results = [_result(version) for version in trained]
    if as_json and results:
        typer.echo(json.dumps({"runs": results} if multirun else results[0]))
        return
    for result in results:
        champion = " (champion)" if result["champion"] else ""
        typer.echo(
            f"{result['model']}{champion}: weighted F1 {result['weighted_f1']:.3f}, accuracy "
            f"{result['accuracy']:.3f} on {result['rows']} rows held out"
        )


def _result(trained: TrainedVersion) -> dict[str, Any]:
    evaluation = trained.evaluation
    return {
        "model": str(trained.location),
        "trained": True,
        "champion": trained.is_champion,
        "rows": evaluation.rows,
        "weighted_f1": evaluation.weighted_f1,
        "accuracy": evaluation.accuracy,
        "ece": evaluation.ece,
        "ece_before_calibration": trained.scores.ece_before,
        "text_alone": trained.scores.text_alone,
        "image_alone": trained.scores.image_alone,
        "out_of_fold": trained.out_of_fold,
        "cascade": trained.cascade.model_dump(),
    }
