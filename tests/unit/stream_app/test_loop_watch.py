"""How late the loop is, and what happens when it stands still."""

import asyncio
import subprocess
import sys
import time

from stream_app.loop_watch import LargestLately, LoopWatch, StandstillDetector

STANDS_STILL = """
import asyncio, time
from stream_app.loop_watch import LoopWatch

async def main():
    watch = LoopWatch(1.0, on_lag=lambda seconds: None)
    watch.start()
    beats = asyncio.create_task(watch.run())
    await asyncio.sleep(1.5)
    print("turns", flush=True)
    time.sleep(60)

asyncio.run(main())
"""


def test_the_largest_lag_is_kept_for_a_minute() -> None:
    lately = LargestLately()
    assert lately.add(0.5, 0.0) == 0.5
    assert lately.add(0.1, 30.0) == 0.5
    assert lately.add(0.2, 59.0) == 0.5
    assert lately.add(0.1, 60.0) == 0.2
    assert lately.add(0.9, 61.0) == 0.9
    assert lately.add(0.1, 121.0) == 0.1


def test_a_beat_that_stays_the_same_is_a_standstill() -> None:
    detector = StandstillDetector(3)
    assert [detector.look(1) for _ in range(4)] == [False, False, False, True]
    assert not detector.look(2)


def test_a_beat_in_between_begins_the_count_anew() -> None:
    detector = StandstillDetector(3)
    assert not any(detector.look(beat) for beat in (1, 1, 1, 2, 2, 2, 3, 4))


def test_a_loop_that_stands_still_ends_the_process_with_its_stack_in_the_log() -> None:
    ended = subprocess.run([sys.executable, "-c", STANDS_STILL], capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stdout == b"turns\n"
    assert b"the event loop has not turned for 1 s" in ended.stderr
    assert b"line 11, in main" in ended.stderr


async def test_a_loop_that_turns_tells_its_lag_and_goes_on() -> None:
    lags: list[float] = []
    watch = LoopWatch(60.0, on_lag=lags.append)
    watch.start()
    beats = asyncio.create_task(watch.run())
    while not lags:
        await asyncio.sleep(0.01)
    num_before = len(lags)
    time.sleep(0.3)  # noqa: ASYNC251 - the fault to be shown
    while len(lags) == num_before:
        await asyncio.sleep(0.01)
    watch.stop()
    beats.cancel()
    assert min(lags) >= 0.0
    assert lags[-1] >= 0.15, "the loop was held for 0.3 s, of which it meant to sleep 0.1 s"
