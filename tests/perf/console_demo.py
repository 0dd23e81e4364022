"""The demo with its console, as what is measured and pictured."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = re.compile(r"web page is at (http://\S+)")


@contextmanager
def demo_with_console(num_events: int) -> Iterator[str]:
    """The address of the console of a demo that has begun to stream so many listings.

    Raises:
        RuntimeError: the demo ended before.
    """
    options = ["--keep", "--console", "--events", str(num_events)]
    command = [sys.executable, "-m", "stream_app", "demo", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            for line in process.stderr:
                said += line
                if (found := ADDRESS.search(line)) is not None:
                    break
            else:
                raise RuntimeError(f"the demo ended: {said[-2000:]}")
            yield found[1]
        finally:
            process.terminate()
            process.communicate()
