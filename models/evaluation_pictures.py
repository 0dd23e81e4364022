"""Pictures of how good a classifier is: its confusion matrix and its reliability diagram.

Drawn without pyplot: no window, no state that two threads would share. Shape letters: C categories, K bins.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation import Reliability
from models.files import replace_file
from models.labels import LabelSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_figure", "reliability_figure", "write_figure"]

_MAX_NAMED: Final = 60
"""More categories than this leave no room for names or numbers."""
_MAX_NUMBERED: Final = 40
_MAX_NAME: Final = 28
_DPI: Final = 100


def confusion_figure(counts_CC: NDArray[np.int64], labels: LabelSet) -> "Figure":
    """Which categories are taken for which: a row for each true one, its cells the share of its rows.

    Args:
        counts_CC: as `models.evaluation.confusion_matrix` gives it.
        labels: the C categories.
    """
    num = len(labels)
    size_inches = float(np.clip(2.5 + 0.34 * num, 4, 14))
    figure, axes = _figure(size_inches * 1.25, size_inches)
    share_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(share_CC, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, fraction=0.04, label="share of the true category's rows")
    axes.set(xlabel="predicted", ylabel="true", title=f"{int(counts_CC.sum())} rows")
    if num <= _MAX_NAMED:
        axes.set_xticks(range(num), [str(code)[:_MAX_NAME] for code in labels.codes], rotation=90, fontsize=7)
        axes.set_yticks(range(num), [_name(labels, column) for column in range(num)], fontsize=7)
    if num <= _MAX_NUMBERED:
        _write_numbers(axes, counts_CC, share_CC)
    return figure


def reliability_figure(bins: Reliability) -> "Figure":
    """How often the best category is right by how sure the model was, and how many rows are that sure."""
    figure, axes = _figure(6, 6)
    edges_K1 = np.linspace(0, 1, len(bins.rows_K) + 1)
    width = 1 / len(bins.rows_K)
    filled_K = bins.rows_K > 0
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="perfectly calibrated")
    axes.bar(
        edges_K1[:-1][filled_K],
        bins.accuracy_K[filled_K],
        width=width,
        align="edge",
        edgecolor="white",
        label="accuracy",
    )
    axes.plot(bins.confidence_K[filled_K], bins.accuracy_K[filled_K], "o", color="black", markersize=3)
    rows = max(int(bins.rows_K.sum()), 1)
    axes.step(
        edges_K1, np.append(bins.rows_K, 0) / rows, where="post", color="tab:orange", label="share of rows"
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the best category", ylabel="share")
    axes.set_title(f"expected calibration error {bins.ece:.3f}, {int(bins.rows_K.sum())} rows")
    axes.legend(loc="upper left")
    return figure


def write_figure(path: Path, figure: "Figure") -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    replace_file(path, png.getvalue())


def _figure(width_inches: float, height_inches: float) -> tuple["Figure", "Axes"]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _write_numbers(axes: "Axes", counts_CC: NDArray[np.int64], share_CC: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(counts_CC > 0).tolist():
        colour = "white" if share_CC[row, column] > 0.6 else "black"
        axes.text(
            column, row, str(counts_CC[row, column]), ha="center", va="center", fontsize=5, color=colour
        )


def _name(labels: LabelSet, column: int) -> str:
    label = labels.label(column)
    # A dollar sign would begin a formula.
    text = str(label.code) if label.name() == str(label.code) else f"{label.code} {label.name()}"
    return text[:_MAX_NAME].replace("$", r"\$")
