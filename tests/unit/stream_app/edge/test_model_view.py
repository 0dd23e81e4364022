"""Promotions by the gateway that the repository does not take."""

import errno
import os
from pathlib import Path

import pytest

from stream_app.edge import model_view
from stream_app.edge.model_view import ModelView
from stream_app.edge.problems import ProblemError
from stream_app.settings import ModelSettings


def test_a_repository_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/repository/fusion")

    monkeypatch.setattr(model_view, "promote_checked", refuse)
    view = ModelView(ModelSettings(model_repository=str(tmp_path)))
    for _ in range(2):  # the first leaves nothing behind that stands in the way
        with pytest.raises(ProblemError, match=r"Read-only file system.*shelver models promote") as caught:
            view.promote("fusion", "champion", "2", force=False)
        assert (caught.value.status, caught.value.kind) == (503, "unavailable")
    assert "/repository" not in str(caught.value)
