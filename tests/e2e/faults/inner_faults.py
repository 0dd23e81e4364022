"""Faults inside the worker, put there by ``faulty_worker``: the model, the device, the producer, the disk."""

from tests.e2e.faults.scene import Scene, assert_struck


async def model_raises(scene: Scene) -> None:
    """Now and then, whatever the listing: the rest of the batch goes on, the model is asked again."""
    await _with_faulty_worker(scene, "model_raises")


async def model_hangs(scene: Scene) -> None:
    """Its worker calls itself dead and is replaced."""
    limits = {"hang_seconds": 3, "publish_timeout_seconds": 3, "stop_seconds": 3, "drain_seconds": 1}
    await _with_faulty_worker(scene, "model_hangs", **limits)


async def device_lost(scene: Scene) -> None:
    """Every call fails after the first assert, as CUDA does."""
    await _with_faulty_worker(scene, "device_lost")


async def out_of_memory(scene: Scene) -> None:
    """Batches of more than 8 do not fit."""
    await _with_faulty_worker(scene, "out_of_memory")


async def producer_fenced(scene: Scene) -> None:
    await _with_faulty_worker(scene, "producer_fenced")


async def out_of_sequence(scene: Scene) -> None:
    await _with_faulty_worker(scene, "out_of_sequence")


async def disk_full(scene: Scene) -> None:
    """No file can be opened for writing, those of the repository included, and nothing can be logged."""
    await _with_faulty_worker(scene, "disk_full")


async def _with_faulty_worker(scene: Scene, fault: str, **settings: object) -> None:
    await scene.create_topics()
    worker = scene.start_worker(fault=fault, **settings)
    await worker.ready()
    scene.guard(worker)
    scene.flow()
    await scene.until(1.0)
    assert_struck(worker)
