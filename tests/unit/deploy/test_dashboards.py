"""The dashboards are those of their source, tell what they show, and lead to the runbook."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana import build
from tests.expressions import panels

PAGES = build.built()
SHOWN = [(page["title"], panel) for page in PAGES.values() for panel in panels(page)]
DRAWN = [(title, panel) for title, panel in SHOWN if panel["type"] != "text"]


def test_the_files_are_what_their_source_says() -> None:
    files = {file.name: json.loads(file.read_text("utf-8")) for file in build.DASHBOARDS_FOLDER.iterdir()}
    assert files == PAGES, "run: uv run python -m deploy.grafana.build"


def test_the_command_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = {file.name: file.read_bytes() for file in build.DASHBOARDS_FOLDER.iterdir()}
    monkeypatch.setattr(build, "DASHBOARDS_FOLDER", tmp_path)
    build.main()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == committed


@pytest.mark.parametrize(
    ("page", "panel"), DRAWN, ids=lambda each: each if isinstance(each, str) else each["title"]
)
def test_every_panel_says_what_it_shows_in_which_unit_and_names_its_lines(
    page: str, panel: dict[str, Any]
) -> None:
    del page
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert all(target["legendFormat"] for target in panel["targets"])
    if panel["type"] == "timeseries":
        grouped = [re.findall(r"\b(?:by|topk\(\d+, sum by) \(([^)]*)\)", t["expr"]) for t in panel["targets"]]
        for labels, target in zip(grouped, panel["targets"], strict=True):
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= {label for group in labels for label in re.split(r",\s*", group)}


def test_panels_lie_beside_and_below_each_other_and_have_numbers_of_their_own() -> None:
    for page in PAGES.values():
        taken: set[tuple[int, int]] = set()
        for panel in page["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < build.WIDTH
            taken |= cells
        numbers = [panel["id"] for panel in page["panels"]]
        assert len(set(numbers)) == len(numbers)


def test_links_lead_to_the_entry_of_their_alert() -> None:
    entries = {
        f"/d/{build.RUNBOOK_UID}?viewPanel={panel['id']}": panel["title"]
        for panel in panels(PAGES["shelver-runbook.json"])
    }
    links = [link for _, panel in DRAWN for link in panel["links"]]
    assert links
    assert all(link["title"] == f"Runbook: {entries[link['url']]}" for link in links)


def test_the_dashboards_can_be_provisioned() -> None:
    provider = (build.HERE / "provisioning" / "dashboards" / "shelver.yaml").read_text("utf-8")
    assert "path: /etc/grafana/dashboards" in provider
    uids = [page["uid"] for page in PAGES.values()]
    assert len(set(uids)) == len(uids)
    assert all(len(uid) <= 40 for uid in uids)
