"""The joint explanation: words and picture together add up to the logit, and are what all coalitions say."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.explain.product import ImageMethod, ProductExplainer
from models.explain.words import split_words
from models.fusion import FusionCalibration, FusionNetwork, Presence
from models.image.decoding import Resize, locate_square
from models.inputs import PreparedBatch, Product, Scores
from models.preprocessing import Preprocessor
from tests.tiny_models import TinyImage, picture, products
from tests.unit.models.explain.test_text_explainers import (
    NUM_CATEGORIES,
    Coalition,
    brute_force,
    ngram_bag,
    ngram_worth,
)


class InMemory:
    """As much of a classifier as explaining needs."""

    def __init__(self, network: FusionNetwork) -> None:
        self.network = network
        self.preprocessor = Preprocessor(network.text, network.image)

    def prepare(self, given: list[Product]) -> PreparedBatch:
        return self.preprocessor.prepare(given)

    def score(self, prepared: PreparedBatch) -> Scores:
        with torch.inference_mode():
            logits_BC = self.network(prepared.to_tensors(torch.device("cpu")))
        return Scores(logits_BC.numpy(), logits_BC.softmax(dim=1).numpy())


def network(*, text: bool = True, image: bool = True) -> FusionNetwork:
    torch.manual_seed(3)
    built = FusionNetwork(
        ngram_bag() if text else None, TinyImage(NUM_CATEGORIES) if image else None, NUM_CATEGORIES
    )
    built.calibrate(
        FusionCalibration(
            text_weight_3C=1 + torch.rand(3, NUM_CATEGORIES),
            image_weight_3C=1 + torch.rand(3, NUM_CATEGORIES),
            bias_3C=torch.randn(3, NUM_CATEGORIES),
            text_mean_C=torch.randn(NUM_CATEGORIES),
            image_mean_C=torch.randn(NUM_CATEGORIES),
            temperature_3=torch.tensor([1.5, 2.0, 0.5]),
        )
    )
    return built.eval()


def explainer(**modalities: bool) -> ProductExplainer:
    classifier: Any = InMemory(network(**modalities))
    return ProductExplainer(classifier)


@pytest.mark.parametrize(("text", "image"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("method", list(ImageMethod))
def test_base_value_and_attributions_are_the_logit_whatever_a_product_has(
    text: bool, image: bool, method: ImageMethod
) -> None:
    given = products()
    each_explainer = explainer(text=text, image=image)
    every = [range(NUM_CATEGORIES)] * len(given)
    found = each_explainer.explain(given, every, image_method=method, max_evaluations=40)
    prepared = each_explainer.classifier.prepare(given)
    logits_BC = each_explainer.classifier.score(prepared).logits_BC
    for row, each in enumerate(found):
        assert each.additivity_error < 1e-4
        assert [category.column for category in each.categories] == list(range(NUM_CATEGORIES))
        for category, logit in zip(each.categories, logits_BC[row], strict=True):
            assert category.value == pytest.approx(logit)
            assert len(category.text_W) == len(each.words)
        has_image = bool(prepared.image_present_B[row])
        assert (each.square is not None) == has_image == (each.image_method is not None)
        assert (each.text_method is not None) == bool(prepared.text_present_B[row])
        assert each.image_reason == prepared.image_reasons[row]


@pytest.mark.parametrize("kept", ["both", "text", "image"])
def test_joint_values_are_what_all_coalitions_of_words_and_cells_say(kept: str) -> None:
    title, description = ("Robot piscine électrique", "le fond") if kept != "image" else ("", "")
    image = picture() if kept != "text" else None
    each_explainer = explainer()
    (found,) = each_explainer.explain([Product(title, description, image)], [range(NUM_CATEGORIES)])
    fusion = each_explainer.classifier.network
    presence = {"both": Presence.BOTH, "text": Presence.TEXT, "image": Presence.IMAGE}[kept]
    temperature = float(fusion.temperature_3[presence])
    text_weight, image_weight, bias = (
        each[presence].double().numpy() / temperature
        for each in (fusion.text_weight_3C, fusion.image_weight_3C, fusion.bias_3C)
    )
    text_mean, image_mean = (each.double().numpy() for each in (fusion.text_mean_C, fusion.image_mean_C))
    num_words = len(split_words(title, description, max_characters=4096).words)
    words_worth, text_bias = ngram_worth(title, description), ngram_bag().bias_C.detach().double().numpy()
    cells_PC = np.zeros((0, NUM_CATEGORIES))
    if image is not None:
        pixels = each_explainer.classifier.prepare([Product(image=image)]).pixels_NHWK
        encoder: Any = fusion.image
        with torch.inference_mode():
            cells_PC = encoder.head(encoder.features_NPD(torch.from_numpy(pixels)))[0].double().numpy()

    def worth(coalition: Coalition) -> np.ndarray:
        words = frozenset(player for player in coalition if player < num_words)
        text_C = text_bias + words_worth(words) if num_words else text_mean
        image_C = image_mean + sum(
            (cells_PC[player - num_words] - image_mean / 4 for player in coalition if player >= num_words),
            np.zeros(NUM_CATEGORIES),
        )
        return text_weight * text_C + image_weight * image_C + bias

    expected = brute_force(num_words + len(cells_PC), worth)
    for column, category in enumerate(found.categories):
        assert category.base_value == pytest.approx(worth(frozenset())[column], abs=1e-6)
        np.testing.assert_allclose(category.text_W, expected[:num_words, column], rtol=0, atol=1e-6)
        if category.image_RQ is not None:
            np.testing.assert_allclose(
                category.image_RQ.ravel(), expected[num_words:, column], rtol=0, atol=1e-6
            )
        assert category.text_share + category.image_share + category.base_value == pytest.approx(
            category.value, abs=1e-4
        )


def test_without_a_wish_the_most_probable_category_is_explained() -> None:
    given = [Product("Robot piscine"), Product("Livre ancien", image=picture())]
    each_explainer = explainer()
    logits_BC = each_explainer.classifier.score(each_explainer.classifier.prepare(given)).logits_BC
    found = each_explainer.explain(given, [None, [1, 0]])
    assert [category.column for category in found[0].categories] == [int(logits_BC[0].argmax())]
    assert [category.column for category in found[1].categories] == [1, 0]


def test_no_products_have_no_explanations() -> None:
    assert explainer().explain([]) == []


def jpeg(width: int, height: int, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(("orientation", "upright"), [(1, (400, 200)), (3, (400, 200)), (6, (200, 400))])
def test_the_square_is_placed_on_the_picture_as_people_see_it(
    orientation: int, upright: tuple[int, int]
) -> None:
    data = jpeg(400, 200, orientation)
    fit, crop, stretch = (locate_square(data, 64, resize) for resize in Resize)
    for square in (fit, crop, stretch):
        assert (square.picture_width, square.picture_height) == upright
    assert (fit.width, fit.height) == (400, 400)
    assert (fit.left, fit.top) == ((0, -100) if upright[0] > upright[1] else (-100, 0))
    assert (crop.width, crop.height) == (200, 200)
    assert (crop.left, crop.top) == ((100, 0) if upright[0] > upright[1] else (0, 100))
    assert (stretch.left, stretch.top, stretch.width, stretch.height) == (0, 0, *upright)
