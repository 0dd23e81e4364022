"""What a worker has loaded is left out of garbage collections."""

import gc
import weakref

from stream_app.garbage import spare_what_is_loaded


class Cycle:
    """Only a collection frees it."""

    def __init__(self) -> None:
        self.self = self


def test_what_is_loaded_is_left_out_until_it_is_over() -> None:
    thresholds = gc.get_threshold()
    loaded = weakref.ref(Cycle())
    kept = Cycle()
    with spare_what_is_loaded():
        assert loaded() is None
        assert gc.get_freeze_count() > 0
        assert not any(each is kept for each in gc.get_objects())
        assert gc.get_threshold()[0] > thresholds[0]
        made = weakref.ref(Cycle())
        gc.collect()
        assert made() is None
    assert gc.get_freeze_count() == 0
    assert any(each is kept for each in gc.get_objects())
    assert gc.get_threshold() == thresholds
