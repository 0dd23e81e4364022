"""What a version keeps of its configuration can be used on another machine, and tells nothing of this one."""

import pytest

from training.run import compose_config
from training.version import plain_config


def test_of_paths_only_the_last_name_is_kept_and_names_on_a_hub_stay_whole() -> None:
    plain = plain_config(
        compose_config(
            [
                *(
                    "text=transformer",
                    "text.source=almanach/camembert-base",
                    "text.tokenizer=../here/tokenizer",
                ),
                *("data.root=data/rakuten", "repository=/srv/models", "data.cache_dir=/var/cache/x"),
                *("image.weights=/srv/weights/mobilenet_v2.pth", "run_dir=/srv/runs/1"),
            ]
        )
    )
    assert plain["text"]["source"] == "almanach/camembert-base"
    assert plain["text"]["tokenizer"] == "tokenizer"
    assert (plain["data"]["root"], plain["repository"], plain["run_dir"]) == ("rakuten", "models", "run")
    assert plain["data"]["cache_dir"] == "x"
    assert plain["image"]["weights"] == "mobilenet_v2.pth"
    assert plain["overrides"] == [
        *("text=transformer", "text.source=almanach/camembert-base", "text.tokenizer=tokenizer"),
        *("data.root=rakuten", "repository=models", "data.cache_dir=x"),
        *("image.weights=mobilenet_v2.pth", "run_dir=1"),
    ]
    assert "/srv" not in str(plain)


def test_of_a_repository_behind_a_url_neither_user_nor_password_is_kept() -> None:
    plain = plain_config(compose_config(["repository='ftp://ann:secret@host'"]))
    assert plain["repository"] == "host"
    assert "secret" not in str(plain)


def test_copies_of_versions_are_where_every_command_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHELVER_MODEL_CACHE", raising=False)
    assert compose_config().model_cache is None
    monkeypatch.setenv("SHELVER_MODEL_CACHE", "/srv/copies")
    cfg = compose_config()
    assert cfg.model_cache == "/srv/copies"
    assert "model_cache" not in plain_config(cfg)
