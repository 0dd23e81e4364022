"""Pictures of scores can be drawn for any number of categories, and are written whole."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.evaluation import reliability
from models.evaluation_pictures import confusion_figure, reliability_figure, write_figure
from models.labels import Label, LabelSet


def labels(num: int) -> LabelSet:
    return LabelSet(Label(code, {"fr": f"Catégorie ${code} _^{{x}} \n" * 5}) for code in range(num))


@pytest.mark.parametrize("num", [1, 2, 27, 60, 500])
def test_a_confusion_matrix_is_drawn_for_any_number_of_categories(num: int) -> None:
    counts_CC = np.random.default_rng(1).integers(0, 9, (num, num))
    figure = confusion_figure(counts_CC, labels(num))
    png = io.BytesIO()
    figure.savefig(png)
    width, height = Image.open(png).size
    assert 300 < height < 1500
    assert width > height


def test_the_diagonal_of_a_perfect_model_is_dark_and_the_rest_is_white() -> None:
    figure = confusion_figure(np.diag([5, 7, 9]), labels(3))
    shares = figure.axes[0].images[0].get_array()
    assert shares is not None
    np.testing.assert_array_equal(shares, np.eye(3))
    assert {text.get_text() for text in figure.axes[0].texts} == {"5", "7", "9"}


def test_a_category_without_rows_is_white() -> None:
    shares = confusion_figure(np.array([[0, 0], [1, 3]]), labels(2)).axes[0].images[0].get_array()
    assert shares is not None
    assert shares.tolist() == [[0, 0], [0.25, 0.75]]


@pytest.mark.parametrize("rows", [0, 1, 500])
def test_reliability_is_drawn_for_any_number_of_rows(rows: int, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    probabilities_BC = random.dirichlet(np.ones(5), rows).astype(np.float32)
    bins = reliability(probabilities_BC, random.integers(0, 5, rows))
    write_figure(tmp_path / "reliability.png", reliability_figure(bins))
    with Image.open(tmp_path / "reliability.png") as picture:
        assert picture.size == (600, 600)


def test_a_picture_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    for _ in range(2):
        write_figure(tmp_path / "confusion.png", confusion_figure(np.eye(2, dtype=np.int64), labels(2)))
    assert [path.name for path in tmp_path.iterdir()] == ["confusion.png"]


def test_nothing_of_pyplot_is_loaded() -> None:
    code = (
        "import sys, numpy as np; from models.evaluation_pictures import confusion_figure;"
        "from models.labels import LabelSet; confusion_figure(np.eye(2), LabelSet.from_codes([1, 2]));"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
