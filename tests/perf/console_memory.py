r"""What memory the console takes for its visitors, and whether it gives it back when they have gone.

    uv run --extra gateway --extra console python -m tests.perf.console_memory --visitors 30

Starts the demo with its console, and Chromium. Each visitor uploads a picture of a megabyte, has it
classified and explained; when all are there, all leave. Prints a table and one JSON object. Resident memory
is the kernel's.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
import psutil
import typer
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.consoles import CHROMIUM, visitor
from tests.perf.console_demo import demo_with_console
from tests.perf.results import markdown

MB = 1_000_000
SIDE_PX = 850
NUM_EVENTS = 25
PATIENCE_MS = 120_000
KEPT_SECONDS = 120
"""Streamlit keeps the session of a page that was closed, should its visitor come back."""
MARGIN_SECONDS = 30


def process_at(url: str) -> psutil.Process:
    """Who listens at an address of this machine."""
    port = urlsplit(url).port
    listening = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
    (pid,) = {each.pid for each in listening if each.laddr and each.laddr.port == port}
    return psutil.Process(pid)


def resident_mb(process: psutil.Process) -> float:
    """What the kernel says."""
    return float(process.memory_info().rss / MB)


def large_picture(folder: Path) -> Path:
    """Noise, a megabyte of it as PNG and JPEG alike."""
    path = folder / "noise.jpg"
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "JPEG", quality=95)
    return path


def visit(stack: ExitStack, chromium: Browser, url: str, image: Path) -> None:
    """One visitor comes, tries a product and stays until the stack is closed."""
    page = stack.enter_context(visitor(chromium, url))
    page.get_by_label("Title", exact=True).fill("Lampe de chevet")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(image)
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".explanation figure")).to_be_visible()


def measure(
    url: str, chromium: Browser, image: Path, num_visitors: int, num_rounds: int
) -> list[list[float]]:
    """MB with everybody there and with all gone, of each round; before the first, those of a single visit."""
    console = process_at(url)
    found = []
    for num in (1, *[num_visitors] * num_rounds):
        with ExitStack() as stack:
            for _ in range(num):
                visit(stack, chromium, url, image)
            there = resident_mb(console)
        time.sleep(KEPT_SECONDS + MARGIN_SECONDS)
        found.append([num, there, resident_mb(console)])
    return found


def main(
    visitors: Annotated[int, typer.Option(help="Who are there at once.")] = 30,
    rounds: Annotated[int, typer.Option(help="How often as many come and leave.")] = 2,
) -> None:
    """Measure."""
    expect.set_options(timeout=PATIENCE_MS)
    with (
        tempfile.TemporaryDirectory() as folder,
        demo_with_console(NUM_EVENTS) as url,
        sync_playwright() as playwright,
    ):
        image = large_picture(Path(folder))
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = measure(url, chromium, image, visitors, rounds)
        size = image.stat().st_size
    print(
        f"pictures of {size:,} bytes; gone: {KEPT_SECONDS + MARGIN_SECONDS} s after the last page was closed"
    )
    rows = [[f"{num}", f"{there:.0f}", f"{gone:.0f}"] for num, there, gone in found]
    print(markdown(["visitors", "there, MB", "gone, MB"], rows))
    print(json.dumps({"picture_bytes": size, "rounds": found}))


if __name__ == "__main__":
    typer.run(main)
