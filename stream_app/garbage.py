"""Keeps Python's garbage collector from walking through what stays for as long as the process."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG_OBJECTS = 10_000
"""So many more objects than were freed before the young ones are walked through. A batch makes some thousand,
most of which are freed by their reference counts as soon as it is done; Python's 700 walks through them
again and again."""


@contextmanager
def spare_what_is_loaded() -> Iterator[None]:
    """Leave the modules, the model and all else that is loaded by now out of collections, until left.

    These are some 300,000 objects that hold no garbage. Each full collection walks through all of them,
    with the interpreter lock held: for some 170 ms every few thousand events. What was frozen and is let
    go of later, as a version that is replaced, is still freed by its reference counts.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
