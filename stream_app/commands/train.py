"""`shelver train`: a new version in the repository."""

import json
from typing import Annotated

import typer


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Hydra overrides, such as data.root=FOLDER text.epochs=6 experiment=demo."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, the last line of output.")
    ] = False,
) -> None:
    """Train a model; ends with a new version in the repository.

    `data.root` is a folder in the challenge's layout, a CSV or a JSON Lines file. The groups are data, text,
    image, fusion, optimizer, trainer and experiment; name, repository, seed and promote stand at the top.

        shelver train data.root=FOLDER image.weights=mobilenet_v2.pth
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from stream_app.errors import SettingsError
    from training.run import compose_config
    from training.run import train as run

    try:
        cfg = compose_config(overrides or ())
        str(cfg.data.root)
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(f"these overrides do not fit: {str(error).splitlines()[0]}") from error
    trained = run(cfg)
    evaluation = trained.evaluation
    result = {
        "model": str(trained.location),
        "champion": trained.is_champion,
        "rows": evaluation.rows,
        "weighted_f1": evaluation.weighted_f1,
        "accuracy": evaluation.accuracy,
        "ece": evaluation.ece,
    }
    if as_json:
        typer.echo(json.dumps(result))
        return
    typer.echo(
        f"{trained.location}{' (champion)' if trained.is_champion else ''}: weighted F1 "
        f"{evaluation.weighted_f1:.3f}, accuracy {evaluation.accuracy:.3f} on {evaluation.rows} rows held out"
    )
