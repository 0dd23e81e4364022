"""A version on a GPU says what it says on the CPU; skipped on machines without one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.catalogue_products import product_of
from models.repository import ModelRepository
from models.runtime import Classifier
from schemas.catalogue import read_catalogue
from training.run import compose_config, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


@pytest.mark.parametrize("trainer", ["default", "bf16"])
def test_what_a_gpu_learnt_is_served_alike_by_both(
    trainer: str, sample_catalogue: Path, tmp_path: Path
) -> None:
    catalogue = [f"data.root='{sample_catalogue}'", f"repository='{tmp_path}'"]
    train(compose_config(["experiment=demo", f"trainer={trainer}", *catalogue]))
    folder = ModelRepository(tmp_path).resolve("demo").folder
    products = [product_of(row) for row in list(read_catalogue(sample_catalogue))[:100]]
    on_cpu, on_gpu = (Classifier.load(folder, device) for device in ("cpu", "cuda"))
    on_gpu.check_golden()
    expected_BC = on_cpu.score(on_cpu.prepare(products)).probabilities_BC
    found_BC = on_gpu.score(on_gpu.prepare(products)).probabilities_BC
    np.testing.assert_allclose(found_BC, expected_BC, rtol=0, atol=1e-4)
    for place in (0, 50):
        alone_BC = on_gpu.score(on_gpu.prepare(products[place : place + 1])).probabilities_BC
        np.testing.assert_allclose(alone_BC[0], found_BC[place], rtol=0, atol=1e-4)
