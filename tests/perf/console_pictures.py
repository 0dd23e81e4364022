"""Pictures of the console's pages for its documentation: `python -m tests.perf.console_pictures`.

Starts the demo with its console, so it needs what the demo needs, and Chromium.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from schemas.catalogue import read_catalogue
from tests.e2e.consoles import CHROMIUM
from tests.perf.console_demo import demo_with_console
from training.samples import write_sample_catalogue

FOLDER = Path(__file__).parents[2] / ".docs" / "console"
WIDTH = 1280
PATIENCE_MS = 120_000
LIVE_MS = 20_000
NUM_EVENTS = 900
"""Enough to stream for longer than that."""


def picture(page: Page, name: str, height: int) -> None:
    """Write a page as PNG, once nothing on it changes any more."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.mouse.move(0, 0)
    page.get_by_test_id("stMain").evaluate("element => element.scrollTo(0, 0)")
    page.wait_for_timeout(2_000)
    page.screenshot(path=FOLDER / f"{name}.png")


def try_product(page: Page, image: Path) -> None:
    """A product with its explanation."""
    page.get_by_role("link", name="Try a product").click()
    page.get_by_label("Title", exact=True).fill("Lampe de chevet en bois clair, abat-jour en lin")
    page.get_by_label("Description", exact=True).fill("Petite lampe à poser pour la chambre.")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(image)
    page.get_by_role("button", name="Classify").click()
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".explanation figure")).to_be_visible()
    picture(page, "try", 1_900)


def live(page: Page) -> None:
    """What has streamed through."""
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_role("img", name="The picture of the product").first).to_be_visible()
    page.wait_for_timeout(LIVE_MS)
    picture(page, "live", 1_250)


def test_set(page: Page) -> None:
    """A catalogue and how well it was predicted."""
    page.get_by_role("link", name="Test set").click()
    page.get_by_text("drawn products", exact=True).click()
    page.get_by_role("tab", name="All rows").click()
    page.get_by_role("button", name="Predict them all").click()
    expect(page.get_by_text("Rows compared")).to_be_visible()
    picture(page, "test-set", 1_450)


def models(page: Page) -> None:
    """Versions, and what one says of itself."""
    page.get_by_role("link", name="Models").click()
    page.get_by_text("Model card").click()
    picture(page, "models", 1_400)


def main(browser: Browser, url: str, image: Path) -> None:
    """Take all of them."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 1_000}, color_scheme="light")
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.goto(url)
    live(page)
    try_product(page, image)
    test_set(page)
    models(page)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        demo_with_console(NUM_EVENTS) as url,
        sync_playwright() as playwright,
    ):
        rows = read_catalogue(write_sample_catalogue(Path(folder), 50, 3))
        image = next(row.image_path for row in rows if row.image_path and row.category == "40")
        main(playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]), url, image)
