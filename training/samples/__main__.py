"""`python -m training.samples FOLDER`: the sample catalogue, for a first model and first listings."""

from pathlib import Path
from typing import Annotated

import typer

from training.samples import write_sample_catalogue


def main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the catalogue goes.")],
    products: Annotated[int, typer.Option(min=1, help="Labelled products.")] = 600,
    seed: Annotated[int, typer.Option(help="Which products are drawn; the same for the same seed.")] = 1,
) -> None:
    """Write the sample catalogue into a folder that is missing or empty; leave any other as it is."""
    if folder.is_dir() and any(folder.iterdir()):
        typer.echo(f"{folder} is not empty and stays as it is", err=True)
        return
    write_sample_catalogue(folder, products, seed)
    typer.echo(f"{products} labelled products in {folder}", err=True)


if __name__ == "__main__":
    typer.run(main)
