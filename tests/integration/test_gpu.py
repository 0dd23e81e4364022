"""What a real GPU does to a version and to a batch; skipped on machines without one."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models import runtime
from models.acceleration import GraphedPictures
from models.catalogue_products import product_of
from models.errors import BundleError
from models.inputs import Product
from models.precision import Precision
from models.repository import ModelRepository
from models.runtime import Classifier
from schemas.catalogue import read_catalogue
from stream_app.gpu_watch import open_gpu
from stream_app.inference import score_listings
from stream_app.memory import BatchCap
from stream_app.preparing import decode_records, prepare_listings
from stream_app.stages import Prepared
from tests.tiny_models import picture
from tests.unit.stream_app.records import PlainRecord
from training.run import compose_config, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")

LOSES_ITS_DEVICE = """
import sys
from pathlib import Path
import torch
from models.runtime import Classifier
from stream_app.errors import FatalError
from stream_app.gpu_watch import open_gpu
from stream_app.inference import score_listings
from tests.integration.test_gpu import prepared
classifier = Classifier.load(Path(sys.argv[1]), torch.device("cuda"))
batch = prepared(classifier, 4)
assert len(score_listings(batch, classifier).listings) == 4
try:
    torch.arange(2, device="cuda")[torch.tensor([9], device="cuda")].cpu()
except RuntimeError:
    pass
try:
    score_listings(batch, classifier)
except FatalError as error:
    print(error)
"""


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


def prepared(classifier: Classifier, num_listings: int) -> Prepared:
    """Numbered listings, each with a picture."""
    image = {"data": base64.b64encode(picture()).decode()}
    bodies = (
        {"event_id": f"e-{n}", "product_id": str(n), "title": f"Lampe {n}", "image": image}
        for n in range(num_listings)
    )
    records = [PlainRecord(offset=n, value=json.dumps(body).encode()) for n, body in enumerate(bodies)]
    return prepare_listings(decode_records(records, max_bytes=2**20), classifier, {})


@pytest.fixture
def on_gpu(demo_repository: Path) -> Classifier:
    return Classifier.load(ModelRepository(demo_repository).resolve("demo").folder, torch.device("cuda"))


@pytest.fixture
def little_memory(on_gpu: Classifier) -> Iterator[Prepared]:
    """A batch that needs more than twice the memory that this process may take."""
    batch = prepared(on_gpu, 256)
    score_listings(prepared(on_gpu, 1), on_gpu)
    resident = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    score_listings(batch, on_gpu)
    needed = torch.cuda.max_memory_allocated() - resident
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved() + int(0.4 * needed)
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield batch
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_batch_that_does_not_fit_is_split_and_the_size_remembered(
    on_gpu: Classifier, little_memory: Prepared, demo_repository: Path
) -> None:
    retries: list[None] = []
    cap = BatchCap(lambda: retries.append(None))
    scored = score_listings(little_memory, on_gpu, cap)
    assert retries
    assert cap.num_rows < 256
    assert not scored.rejected
    assert scored.scores is not None
    on_cpu = Classifier.load(ModelRepository(demo_repository).resolve("demo").folder, torch.device("cpu"))
    expected = score_listings(little_memory, on_cpu).scores
    assert expected is not None
    np.testing.assert_allclose(scored.scores.probabilities_BC, expected.probabilities_BC, rtol=0, atol=1e-4)
    retries.clear()
    score_listings(little_memory, on_gpu, cap)
    assert not retries, "the size that fits was forgotten"


def test_a_lost_device_ends_the_worker(demo_repository: Path) -> None:
    """In a process of its own: after a device-side assert nothing of CUDA works any more."""
    folder = ModelRepository(demo_repository).resolve("demo").folder
    ended = subprocess.run(
        [sys.executable, "-c", LOSES_ITS_DEVICE, str(folder)], capture_output=True, text=True, check=False
    )
    assert "the device is lost" in ended.stdout, ended.stderr[-2000:]


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.FLOAT16])
def test_captured_pictures_score_as_before_whatever_the_size_of_the_batch(
    demo_repository: Path, precision: Precision
) -> None:
    folder = ModelRepository(demo_repository).resolve("demo").folder
    exact = Classifier.load(folder, "cuda")
    captured = Classifier.load(folder, "cuda", precision=precision)
    captured.warm_up(24)
    captured.check_golden()
    tolerance = 1e-4 if precision is Precision.FLOAT32 else 1e-2
    for num_listings in (1, 3, 24, 25, 60):
        inputs = prepared(exact, num_listings).inputs
        assert inputs is not None
        np.testing.assert_allclose(
            captured.score(inputs).probabilities_BC, exact.score(inputs).probabilities_BC, atol=tolerance
        )


def test_a_batch_without_pictures_is_scored_by_a_captured_version(demo_repository: Path) -> None:
    captured = Classifier.load(
        ModelRepository(demo_repository).resolve("demo").folder, "cuda", precision=Precision.AUTO
    )
    captured.warm_up(8)
    assert captured.score(captured.prepare([Product("Lampe")])).logits_BC.shape[0] == 1


def test_half_precision_that_moves_scores_is_refused_or_left(
    demo_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "PROBABILITY_TOLERANCE", -1.0)
    folder = ModelRepository(demo_repository).resolve("demo").folder
    with pytest.raises(BundleError, match="set the precision to float32"):
        Classifier.load(folder, "cuda", precision=Precision.FLOAT16).warm_up(4)
    Classifier.load(folder, "cuda", precision=Precision.AUTO).warm_up(4)


def test_graphs_that_do_not_fit_in_memory_are_left_out(on_gpu: Classifier) -> None:
    image = on_gpu.network.image
    assert image is not None
    with torch.inference_mode():
        pixels_NHWK = torch.randint(
            0, 256, (64, image.image_size, image.image_size, 3), dtype=torch.uint8
        ).cuda()
        expected_NC = image.head(image.features_NPD(pixels_NHWK)).sum(1)
        torch.cuda.empty_cache()
        limit = torch.cuda.memory_reserved() + 64 * 2**20
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
        try:
            pictures = GraphedPictures(image, on_gpu.device, dtype=torch.float32, max_batch=1024)
            assert 1024 not in pictures.sizes
            found_NC = pictures(pixels_NHWK)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    torch.testing.assert_close(found_NC, expected_NC, atol=1e-4, rtol=1e-4)


def test_the_driver_tells_memory_and_utilisation_of_the_device(on_gpu: Classifier) -> None:
    gpu = open_gpu(on_gpu.device)
    assert gpu is not None
    reading = gpu.read()
    assert torch.cuda.memory_allocated() <= reading.used_bytes <= reading.total_bytes
    assert reading.total_bytes >= torch.cuda.get_device_properties(on_gpu.device).total_memory
    assert 0.0 <= reading.utilisation <= 1.0
