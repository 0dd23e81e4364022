"""Whatever is wrong with a stored version, it is refused with a `ModelError` of one line that says what."""

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from models.bundle import verify_bundle
from models.errors import ModelError
from models.manifest import FileEntry, encode_json, open_manifest, seal_manifest
from tests.small_models import small_network, small_tokenizer, write_small_bundle

Damage = Callable[[Path], object]

WEIGHTS = "model.safetensors"
FILES = ("bundle.json", WEIGHTS, "labels.json", "golden.json", "metrics.json", "README.md", "split.json")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a sound version."""
    folder = tmp_path_factory.mktemp("small") / "1"
    write_small_bundle(folder, split={"train": ["p-1"], "val": ["p-2"]}, metrics={"weighted_f1": 0.9})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def version(sound: dict[str, bytes], tmp_path: Path) -> Path:
    return write(tmp_path / "small" / "1", sound)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def seal(folder: Path, changed: dict[str, bytes] | None = None, **fields: Any) -> None:
    """Put files in the place of others, with a manifest that fits them: by somebody who knows the format."""
    write(folder, changed or {})
    manifest = open_manifest((folder / "bundle.json").read_bytes())
    files = {
        path.name: FileEntry(
            size_bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in folder.iterdir()
        if path.name != "bundle.json"
    }
    (folder / "bundle.json").write_bytes(
        seal_manifest(manifest.model_copy(update={"files": files, **fields}))
    )


def refusal(folder: Path) -> str:
    """What the version is refused with."""
    with pytest.raises(ModelError) as refused:
        verify_bundle(folder)
    told = str(refused.value)
    assert told.startswith(str(folder))
    assert len(told.splitlines()) == 1
    assert len(told) < len(str(folder)) + 500
    return told


def test_a_sound_version_is_not_refused(version: Path) -> None:
    assert verify_bundle(version) < 1e-6
    seal(version)
    assert verify_bundle(version) < 1e-6


@pytest.mark.parametrize("name", [WEIGHTS, "labels.json", "golden.json", "tokenizer.json", "README.md"])
def test_a_version_that_is_half_copied(version: Path, name: str) -> None:
    (version / name).unlink()
    assert f"missing files: '{name}'" in refusal(version)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.01, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("sealed", [False, True], ids=["as copied", "with its digest"])
def test_weights_cut_at_any_length(version: Path, kept: float, sealed: bool) -> None:
    weights = version / WEIGHTS
    os.truncate(weights, int(weights.stat().st_size * kept))
    if not sealed:
        assert "cut or replaced" in refusal(version)
        return
    seal(version)
    assert "is not a readable safetensors file" in refusal(version)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(version: Path, value: float) -> None:
    tensors = load((version / WEIGHTS).read_bytes())
    name = max(tensors, key=lambda each: tensors[each].numel())
    tensors[name].view(-1)[0] = value
    seal(version, {WEIGHTS: save(tensors)})
    assert f"{name} holds NaN or infinity" in refusal(version)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda tensors, name: tensors.pop(name), "lacks 1 tensors"),
        (lambda tensors, _name: tensors.update(more=torch.zeros(1)), "has 1 tensors the network lacks: more"),
        (lambda tensors, name: tensors.update({name: tensors[name][:1]}), "it must have"),
        (lambda tensors, name: tensors.update({name: tensors[name].double()}), "it must be torch.float32"),
        (lambda tensors, name: tensors.update({name: tensors[name] + 0.01}), "golden check failed"),
    ],
    ids=["one less", "one more", "shape", "type", "values"],
)
def test_weights_of_another_network(
    version: Path, change: Callable[[dict[str, torch.Tensor], str], object], fault: str
) -> None:
    tensors = load((version / WEIGHTS).read_bytes())
    change(tensors, max(tensors, key=lambda each: tensors[each].numel()))
    seal(version, {WEIGHTS: save(tensors)})
    assert fault in refusal(version)


def test_weights_of_another_training(version: Path, tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "other", small_network(swapped=True))
    seal(version, {WEIGHTS: (tmp_path / "other" / WEIGHTS).read_bytes()})
    assert "this is not the model that was measured" in refusal(version)


@pytest.mark.parametrize("sealed", [False, True], ids=["as copied", "with its digest"])
def test_categories_in_another_order(version: Path, sealed: bool) -> None:
    labels = json.loads((version / "labels.json").read_bytes())
    data = encode_json(labels[::-1], "labels.json")
    if not sealed:
        write(version, {"labels.json": data})
        assert "labels.json was changed after it was written" in refusal(version)
        return
    seal(version, {"labels.json": data})
    assert "the categories of labels.json are not those of bundle.json" in refusal(version)
    seal(version, codes=["robots", "chairs"])
    assert "its categories are not those of the network" in refusal(version)


@pytest.mark.parametrize(
    "codes", [["chairs", "lamps"], ["chairs"], ["chairs", "robots", "lamps"], ["chairs"] * 2]
)
def test_other_categories(version: Path, codes: list[str]) -> None:
    labels = json.loads((version / "labels.json").read_bytes())
    other = [{**labels[0], "code": code} for code in codes]
    seal(version, {"labels.json": encode_json(other, "labels.json")}, codes=codes)
    refusal(version)


@pytest.mark.parametrize("more", ["velo pliant rouge", "piscine gonflable enfant bleue"])
def test_another_tokenizer(version: Path, tmp_path: Path, more: str) -> None:
    write_small_bundle(tmp_path / "other", small_network(small_tokenizer(*[more] * 20)))
    other = (tmp_path / "other" / "tokenizer.json").read_bytes()
    write(version, {"tokenizer.json": other})
    assert "tokenizer.json" in refusal(version)
    seal(version)
    refusal(version)


def test_a_vocabulary_in_another_order(version: Path) -> None:
    """As many tokens as there should be: only the golden products can tell."""
    tokenizer = json.loads((version / "tokenizer.json").read_bytes())
    vocabulary = tokenizer["model"]["vocab"]
    words = [entry for entry in vocabulary if isinstance(entry, str)]
    robot, chair = (next(word for word in words if part in word) for part in ("robot", "chaise"))
    vocabulary[robot], vocabulary[chair] = vocabulary[chair], vocabulary[robot]
    seal(version, {"tokenizer.json": json.dumps(tokenizer).encode()})
    assert "golden check failed" in refusal(version)


def test_a_pickle_among_the_files(version: Path) -> None:
    write(version, {"optimizer.pkl": pickle.dumps({"lr": 1})})
    assert "files that are not part of the version: 'optimizer.pkl'" in refusal(version)


def torch_save(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("saved", [pickle.dumps, torch_save], ids=["pickle", "torch"])
def test_a_pickle_in_the_place_of_the_weights_is_never_opened(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Callable[[Runs], bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    seal(version, {WEIGHTS: saved(Runs())})
    assert "is a pickle, which can run code: it is never opened" in refusal(version)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_the_place_of_a_file(version: Path, tmp_path: Path, name: str) -> None:
    (version / name).rename(tmp_path / name)
    (version / name).symlink_to(tmp_path / name)
    assert f"'{name}' is a link or folder" in refusal(version)


@pytest.mark.parametrize("name", ["more", "labels.json"])
def test_a_folder_among_the_files(version: Path, name: str) -> None:
    (version / name).unlink(missing_ok=True)
    (version / name).mkdir()
    assert f"'{name}' is a link or folder" in refusal(version)


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b"9" * 10_000]
)
def test_a_manifest_that_is_none(version: Path, data: bytes) -> None:
    write(version, {"bundle.json": data})
    assert "bundle.json" in refusal(version)


def test_a_manifest_that_lists_itself(version: Path) -> None:
    manifest = open_manifest((version / "bundle.json").read_bytes())
    files = {**manifest.files, "bundle.json": FileEntry(size_bytes=2, sha256="0" * 64)}
    write(version, {"bundle.json": seal_manifest(manifest.model_copy(update={"files": files}))})
    assert "lists itself" in refusal(version)


def test_a_version_in_the_place_of_another(version: Path) -> None:
    there = version.rename(version.with_name("2"))
    assert "copied to the place of another" in refusal(there)


def test_a_folder_that_is_not_there_or_empty(tmp_path: Path) -> None:
    assert "there is no version" in refusal(tmp_path / "1")
    (tmp_path / "1").mkdir()
    assert "bundle.json is missing" in refusal(tmp_path / "1")


@pytest.mark.parametrize(
    ("name", "way", "value", "fault"),
    [
        ("golden.json", ["products", 0, "logits", 0], 10**400, "golden.json does not hold a golden set"),
        ("golden.json", ["products", 0, "image"], "A", "golden.json does not hold a golden set"),
        ("golden.json", ["products"], [], "needs at least one product"),
        ("labels.json", [0], "a\nb", "a category must be"),
        ("labels.json", [0, "code"], 10**400, "the categories of labels.json are not those"),
        ("metrics.json", [], [], "metrics.json must hold one JSON object"),
        ("tokenizer.json", ["version"], "1\n2", "cannot be built from its configuration"),
        ("tokenizer.json", ["model", "continuing_subword_prefix"], "x" * 2_000, "embedding_bag"),
        ("bundle.json", ["text", "kind"], "gpt", "text encoder kind 'gpt' is unknown"),
        ("bundle.json", ["text", "config", "max_tokens"], None, "the products cannot be scored"),
        (
            "bundle.json",
            ["text", "config", "embedding_dim"],
            10**30,
            "cannot be built from its configuration",
        ),
        ("bundle.json", ["files", "README.md", "size_bytes"], 10**30, "cut or replaced"),
        ("bundle.json", ["created_at"], "yesterday", "does not describe a version: created_at"),
        ("bundle.json", ["version"], "9" * 40, "does not describe a version: version"),
    ],
)
def test_a_document_that_says_something_else(
    version: Path, name: str, way: list[str | int], value: Any, fault: str
) -> None:
    document = json.loads((version / name).read_bytes())
    if way:
        *before, last = way
        place = document
        for key in before:
            place = place[key]
        place[last] = value
    else:
        document = value
    seal_document(version, name, document)
    assert fault in refusal(version)


def seal_document(folder: Path, name: str, document: Any) -> None:
    if name != "bundle.json":
        seal(folder, {name: encode_json(document, name)})
        return
    body = document if isinstance(document, dict) else {}
    body.pop("sha256", None)
    digest = hashlib.sha256(encode_json(body, name)).hexdigest()
    write(folder, {name: encode_json(body | {"sha256": digest}, name)})


numbers = st.sampled_from([0, -1, 10**30, 10**400, -(10**400), 1e308, 5e-324, True])
anything = st.recursive(
    numbers | st.none() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
)


@st.composite
def changed_documents(draw: st.DrawFn) -> tuple[str, list[Any], Any]:
    """A file, a way into its JSON document, and what to put at the end of it."""
    name = draw(
        st.sampled_from(
            ["labels.json", "golden.json", "metrics.json", "split.json", "tokenizer.json", "bundle.json"]
        )
    )
    return name, draw(st.lists(st.integers(0, 7), max_size=6)), draw(anything)


def put(document: Any, way: list[int], value: Any) -> Any:
    if not way or not isinstance(document, dict | list) or not document:
        return value
    keys = list(document) if isinstance(document, dict) else range(len(document))
    key = keys[way[0] % len(keys)]
    document[key] = put(document[key], way[1:], value)
    return document


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=changed_documents())
def test_any_value_in_any_place_with_right_digests(
    sound: dict[str, bytes], tmp_path: Path, changed: tuple[str, list[Any], Any]
) -> None:
    """It is refused, or harmless: then it still scores as it was measured."""
    name, way, value = changed
    folder = write(tmp_path / "small" / "1", sound)
    document = put(json.loads(sound[name]), way, value)
    seal_document(folder, name, document)
    refused_or_sound(folder)


def refused_or_sound(folder: Path) -> None:
    try:
        assert verify_bundle(folder) < 1e-3
    except ModelError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - some changes are harmless


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(FILES), place=st.floats(0, 1), bad=st.binary(max_size=8), removed=st.integers(0, 8)
)
def test_bad_bytes_anywhere(
    sound: dict[str, bytes], tmp_path: Path, name: str, place: float, bad: bytes, removed: int
) -> None:
    start = int(place * len(sound[name]))
    data = sound[name][:start] + bad + sound[name][start + removed :]
    folder = write(tmp_path / "small" / "1", sound | {name: data})
    if data == sound[name]:
        verify_bundle(folder)
        return
    refusal(folder)
    if name != "bundle.json":
        seal(folder)
        refused_or_sound(folder)
