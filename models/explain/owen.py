"""Owen values of any function of players that are there or not, by shap's partition explainer.

Players are grouped by a tree. At each node the value of a group is divided between its two halves, in turns
with and without the other half (Owen 1977, "Values of Games with a Priori Unions"). Within a budget of
evaluations the nodes that move most are divided first, and the others share their value equally.

Letters: M masks, P players, K outputs.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["grid_tree", "owen_values"]

Game = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
"""values_MK of masks_MP: which players are there."""

Tree = NDArray[np.float64]
"""P - 1 merges as scipy.cluster.hierarchy writes them: two nodes, a height, and how many players."""


def owen_values(
    game: Game, tree: Tree, *, max_evaluations: int, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """values_PK, base_K and the number of evaluations: base plus the sum of the values is the whole.

    Args:
        game: asked for `batch_size` masks at a time.
        tree: of the P players; with one player it has no merge.
        max_evaluations: at least 2 are made, without any and with all players.
        batch_size: masks a call.
    """
    # Importing shap takes seconds, and exact explanations do without it.
    from shap.explainers import PartitionExplainer

    num_players = len(tree) + 1
    if num_players == 1:
        base_K, whole_K = game(np.array([[False], [True]]))
        return (whole_K - base_K)[None], base_K, 2
    counted = _Counted(game)
    explainer = PartitionExplainer(counted, _Masker(tree))
    row = np.zeros((1, num_players))
    result = explainer(row, max_evals=max(2, max_evaluations), batch_size=batch_size, silent=True)
    return result.values[0], np.asarray(result.base_values[0]), counted.num_evaluations


def grid_tree(num_rows: int, num_columns: int) -> Tree:
    """Players in rows and columns, numbered row by row; what is longer than wide is halved, and again."""
    num_players = num_rows * num_columns
    merges: list[tuple[int, int, int, int]] = []

    def build(top: int, bottom: int, left: int, right: int) -> tuple[int, int]:
        height, width = bottom - top, right - left
        if height == width == 1:
            return top * num_columns + left, 1
        if height > width:
            middle = top + height // 2
            first, second = build(top, middle, left, right), build(middle, bottom, left, right)
        else:
            middle = left + width // 2
            first, second = build(top, bottom, left, middle), build(top, bottom, middle, right)
        count = first[1] + second[1]
        merges.append((first[0], second[0], count, count))
        return num_players + len(merges) - 1, count

    build(0, num_rows, 0, num_columns)
    return np.array(merges, np.float64).reshape(-1, 4)


class _Counted:
    def __init__(self, game: Game) -> None:
        self._game = game
        self.num_evaluations = 0

    def __call__(self, masks_MP: NDArray[np.bool_]) -> NDArray[np.float64]:
        self.num_evaluations += len(masks_MP)
        return self._game(masks_MP)


class _Masker:
    """Hands the masks themselves to the game."""

    def __init__(self, tree: Tree) -> None:
        self.clustering = tree
        self.shape = (1, len(tree) + 1)

    def __call__(self, mask_P: NDArray[np.bool_], row_P: NDArray[np.float64]) -> tuple[NDArray[np.bool_]]:
        del row_P
        return (mask_P[None].copy(),)
