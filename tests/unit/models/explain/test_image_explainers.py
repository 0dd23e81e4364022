"""Values of parts of a picture: exact on the last map, within a budget on the pixels."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.explain.base import ImageExplainer
from models.explain.cells import CellsExplainer
from models.explain.owen import grid_tree, owen_values
from models.explain.pixels import PATCH_PX, PixelsExplainer, blurred
from models.image.backbones import TorchvisionBackbone
from tests.contracts.image_encoder import evidence, pictures
from tests.tiny_models import TinyImage
from tests.unit.models.explain.test_text_explainers import brute_force

SIZE_PX = 64
NUM_CATEGORIES = 4


@pytest.fixture(scope="module")
def encoder() -> TorchvisionBackbone:
    torch.manual_seed(1)
    return TorchvisionBackbone("mobilenet_v3_small", NUM_CATEGORIES, image_size=SIZE_PX).eval()


@pytest.fixture(params=["cells", "pixels"])
def explainer(encoder: TorchvisionBackbone, request: pytest.FixtureRequest) -> ImageExplainer:
    if request.param == "cells":
        return CellsExplainer(encoder, torch.arange(NUM_CATEGORIES) / 10)
    return PixelsExplainer(encoder)


@pytest.mark.parametrize("max_evaluations", [2, 60])
def test_base_and_values_add_up_to_the_evidence(
    encoder: TorchvisionBackbone, explainer: ImageExplainer, max_evaluations: int
) -> None:
    pixels_NHWK = pictures(SIZE_PX)
    expected_NC = evidence(encoder, pixels_NHWK).sum(dim=1)
    found = explainer.explain(pixels_NHWK.numpy(), np.array([2, 0]), max_evaluations)
    assert len(found) == len(pixels_NHWK)
    for each, expected_C in zip(found, expected_NC, strict=True):
        total_K = each.base_K + each.values_RQK.sum(axis=(0, 1))
        np.testing.assert_allclose(total_K, expected_C[[2, 0]].numpy(), rtol=0, atol=1e-4)
        assert each.num_evaluations <= max(max_evaluations, 1)


def test_no_pictures_have_no_explanations(explainer: ImageExplainer) -> None:
    assert explainer.explain(np.zeros((0, SIZE_PX, SIZE_PX, 3), np.uint8), np.array([0]), 10) == []


def test_cells_are_what_all_coalitions_say_of_absent_cells_of_the_mean_picture() -> None:
    torch.manual_seed(2)
    encoder, mean_C = TinyImage(), torch.tensor([0.3, -0.2, 0.5])
    pixels_NHWK = np.random.default_rng(1).integers(0, 255, (1, 8, 8, 3), np.uint8)
    (found,) = CellsExplainer(encoder, mean_C).explain(pixels_NHWK, np.arange(3), 0)
    with torch.inference_mode():
        cells_PC = encoder.head(encoder.features_NPD(torch.from_numpy(pixels_NHWK)))[0].double().numpy()
    absent_C = mean_C.double().numpy() / 4
    expected = brute_force(
        4,
        lambda there: sum((cells_PC[cell] if cell in there else absent_C for cell in range(4)), np.zeros(3)),
    )
    np.testing.assert_allclose(found.values_RQK.reshape(4, 3), expected, rtol=0, atol=1e-6)


class LeftHalf(TinyImage):
    """Sees nothing but the red of the top left corner."""

    image_size = 32
    grid = (1, 1)

    def features_NPD(self, pixels_NHWK: torch.Tensor) -> torch.Tensor:
        return pixels_NHWK[:, :8, :8].float().mean(dim=(1, 2))[:, None] / 255

    def head(self, features_NPD: torch.Tensor) -> torch.Tensor:
        return features_NPD


def test_pixels_find_the_patch_that_decides() -> None:
    pixels_HWK = np.full((32, 32, 3), 255, np.uint8)
    pixels_HWK[:8, :8] = (0, 0, 0)
    (found,) = PixelsExplainer(LeftHalf()).explain(pixels_HWK[None], np.array([0]), 200)
    values_RQ = found.values_RQK[..., 0]
    assert values_RQ.shape == (32 // PATCH_PX, 32 // PATCH_PX)
    assert values_RQ[0, 0] < -0.1
    values_RQ[0, 0] = 0
    np.testing.assert_allclose(values_RQ, 0, atol=1e-6)


def test_a_blurred_picture_keeps_its_colours_and_loses_its_shapes() -> None:
    board = np.indices((64, 64)).sum(axis=0) // 2 % 2 * 255
    pixels_HWK = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    smooth = blurred(pixels_HWK)
    assert smooth.shape == pixels_HWK.shape
    assert abs(float(smooth.mean()) - float(pixels_HWK.mean())) < 3
    assert float(smooth.std()) < 10


@pytest.mark.parametrize(("num_rows", "num_columns"), [(1, 1), (1, 5), (3, 2), (7, 7)])
def test_a_tree_joins_every_player_once(num_rows: int, num_columns: int) -> None:
    tree = grid_tree(num_rows, num_columns)
    num_players = num_rows * num_columns
    assert tree.shape == (num_players - 1, 4)
    assert sorted(tree[:, :2].ravel().tolist()) == list(range(2 * num_players - 2))
    if num_players > 1:
        assert tree[-1, 3] == num_players


def test_owen_values_of_a_sum_with_one_interaction() -> None:
    weight_P = np.arange(1.0, 5.0)

    def game(masks_MP: NDArray[np.bool_]) -> NDArray[np.float64]:
        worth_M: NDArray[np.float64] = masks_MP @ weight_P + 6 * (masks_MP[:, 0] & masks_MP[:, 1])
        return worth_M[:, None]

    values_PK, base_K, num_evaluations = owen_values(game, grid_tree(1, 4), max_evaluations=500, batch_size=8)
    np.testing.assert_allclose(values_PK[:, 0], [4, 5, 3, 4], atol=1e-9)
    assert base_K.tolist() == [0]
    assert num_evaluations <= 500
