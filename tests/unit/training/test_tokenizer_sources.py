"""Where tokenisers come from, and that what is added to them stays."""

from pathlib import Path

import pytest

from models.errors import ModelError
from models.text.tokenizer import Tokenizer
from training.tokenizer_sources import load_tokenizer

TEXTS = [(f"Robot piscine n{number}", "Livre ancien &amp; canapé") for number in range(20)]


def test_the_same_texts_give_the_same_tokeniser() -> None:
    first, second = (load_tokenizer("catalogue", TEXTS, vocabulary_size=200) for _ in range(2))
    assert first.data == second.data
    assert len(first) <= 200


def test_a_trained_tokeniser_reads_cleaned_text() -> None:
    tokenizer = load_tokenizer("catalogue", TEXTS, vocabulary_size=300)
    ids, _ = tokenizer.encode("robot piscine", max_tokens=50)
    assert [tokenizer.tokens()[each] for each in ids] == ["\u2581robot", "\u2581piscine"]


def test_new_tokens_are_whole_and_stay(tmp_path: Path) -> None:
    before = load_tokenizer("catalogue", TEXTS, vocabulary_size=100)
    (tmp_path / "tokenizer.json").write_bytes(before.data)
    after = load_tokenizer(str(tmp_path), new_tokens=["Nintendo", "", "robot"])
    assert len(before) < len(after) <= len(before) + 2
    restored = Tokenizer(after.data)
    ids, _ = restored.encode("un nintendo", max_tokens=50)
    assert restored.token_id("nintendo") in ids
    assert before.token_id("nintendo") is None


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_file_that_is_no_tokeniser_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json is not"):
        load_tokenizer(str(path))


def test_without_texts_there_is_nothing_to_train_on() -> None:
    with pytest.raises(ModelError, match="no text"):
        load_tokenizer("catalogue", [("", "<br>")])


def test_a_name_that_the_hub_does_not_give_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"tokenizer 'nobody/nothing-at-all'.*catalogue"):
        load_tokenizer("nobody/nothing-at-all")
