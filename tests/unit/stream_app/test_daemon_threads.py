"""Work on threads that nobody waits for at the end."""

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest

from stream_app.daemon_threads import in_daemon_thread


async def test_what_the_work_gives_or_raises_comes_back() -> None:
    assert await in_daemon_thread(lambda: threading.current_thread().name, name="reader") == "reader"
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 / 0, name="reader")


async def test_who_is_cancelled_leaves_the_work_behind() -> None:
    released, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert released.wait(60)
        ended.set()

    waiting = asyncio.create_task(in_daemon_thread(work, name="slow"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    released.set()
    assert await asyncio.to_thread(ended.wait, 60)


def test_a_process_ends_while_the_work_goes_on() -> None:
    code = """
        import asyncio, time
        from stream_app.daemon_threads import in_daemon_thread

        async def main():
            task = asyncio.create_task(in_daemon_thread(lambda: time.sleep(3_600), name="hangs"))
            await asyncio.sleep(0.1)
            task.cancel()

        asyncio.run(main())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=120, check=True)
