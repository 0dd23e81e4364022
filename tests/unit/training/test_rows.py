"""Who is held out: the catalogue's own split, else whole groups of near duplicates, never a pseudo label."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CatalogueError
from training.rows import duplicate_groups, load_rows, split_by_group
from training.samples import write_sample_catalogue


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(number: int, **fields: Any) -> dict[str, Any]:
    names = ("lampe", "livre")
    return {
        "product_id": str(number),
        "title": f"{names[number % 2]} {chr(97 + number % 26)}{chr(97 + number // 26)}",
        "category": str(10 + number % 2),
        **fields,
    }


def test_near_duplicates_share_a_group() -> None:
    groups = duplicate_groups(["Lampe bleue n° 12", "lampe   BLEUE n° 7", "Lampe rouge", "123", "456"])
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 4


@given(
    groups=st.lists(st.integers(0, 12), min_size=2, max_size=60),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 9),
)
def test_a_drawn_split_keeps_groups_whole_and_every_category_learnable(
    groups: list[int], fraction: float, seed: int
) -> None:
    groups_N = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    categories_N = groups_N % 3
    categories_N = np.unique(categories_N, return_inverse=True)[1].astype(np.int64)
    held_out = split_by_group(groups_N, categories_N, fraction=fraction, seed=seed)
    again = split_by_group(groups_N, categories_N, fraction=fraction, seed=seed)
    assert np.array_equal(held_out, again)
    for group in set(groups_N.tolist()):
        assert len(set(held_out[groups_N == group].tolist())) == 1
    assert set(categories_N[~held_out].tolist()) == set(categories_N.tolist())


def test_the_catalogues_own_split_counts_and_pseudo_labels_are_never_held_out(tmp_path: Path) -> None:
    rows = load_rows(write_sample_catalogue(tmp_path, 80, 1))
    assert {each.split for each, held_out in zip(rows.rows, rows.validation_N, strict=True) if held_out} == {
        "val"
    }
    assert rows.pseudo_N.sum() == 8
    assert not (rows.pseudo_N & rows.validation_N).any()
    assert len(rows.train_rows) + len(rows.validation_rows) == len(rows)
    assert len(rows) + sum(rows.left_out.values()) == 88


def test_without_a_split_one_is_drawn_by_the_seed(tmp_path: Path) -> None:
    catalogue = write_lines(tmp_path / "rows.jsonl", [row(number) for number in range(60)])
    first, same, other = (load_rows(catalogue, seed=seed).validation_N for seed in (1, 1, 2))
    assert first.sum() == 6
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_category_that_only_held_out_rows_have_shifts_no_other_code(tmp_path: Path) -> None:
    rows = [row(number, split="train") for number in range(10)] + [row(99, category="5", split="val")]
    loaded = load_rows(write_lines(tmp_path / "rows.jsonl", rows))
    assert loaded.labels.codes == (10, 11)
    assert loaded.truth_N[-1] == -1


def test_versions_measured_on_the_same_rows_say_so(tmp_path: Path) -> None:
    held_out = [row(number, split="val") for number in range(4)]
    rows = [row(number, split="train") for number in range(10, 18)]
    more = [*rows, row(20, split="train")]
    relabelled = [*held_out[:-1], held_out[-1] | {"category": held_out[0]["category"]}]
    first, second, third = (
        load_rows(write_lines(tmp_path / f"{number}.jsonl", each)).fingerprint()
        for number, each in enumerate(([*held_out, *rows], [*held_out, *more], [*relabelled, *rows]))
    )
    assert first["sha256"] != second["sha256"]
    assert first["validation_sha256"] == second["validation_sha256"]
    assert first["validation_sha256"] != third["validation_sha256"]


def test_the_fingerprint_tells_rows_apart(tmp_path: Path) -> None:
    rows = [row(number, split="val" if number == 0 else "train") for number in range(10)]
    first = load_rows(write_lines(tmp_path / "a.jsonl", rows)).fingerprint()
    same = load_rows(write_lines(tmp_path / "b.jsonl", rows)).fingerprint()
    other = load_rows(write_lines(tmp_path / "c.jsonl", [*rows[:-1], row(9, title="autre")])).fingerprint()
    assert first == same
    assert first["sha256"] != other["sha256"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(number, category=None) for number in range(4)], "no row has a category"),
        ([row(number, category="7") for number in range(4)], "at least 2"),
        ([row(number, split="trian") for number in range(4)], "trian"),
    ],
)
def test_a_catalogue_that_cannot_be_learnt_from_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(CatalogueError, match=message):
        load_rows(write_lines(tmp_path / "rows.jsonl", rows))
