"""The latest results: whom they wake, and how many bytes are kept."""

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letters import Failure, Reason, Stage
from stream_app.edge.results import OVERHEAD_BYTES, Kind, Result, Results, Subject

ONE, OTHER = Subject(Kind.LISTING, "e-1"), Subject(Kind.LISTING, "e-2")
QUESTION = Subject(Kind.QUESTION, "e-1")
FAILURE = Failure(Stage.DECODE, Reason.MALFORMED, "no JSON", "product-listed-0-1")


def result(content: bytes = b"{}", at_ms: int = 1) -> Result:
    return Result("p-1", content, at_ms)


async def test_a_result_wakes_those_who_wait_for_it_and_nobody_else() -> None:
    results = Results(10_000)
    with ExitStack() as stack:
        first, second, other, question = (
            stack.enter_context(results.awaited(subject)) for subject in (ONE, ONE, OTHER, QUESTION)
        )
        assert results.num_waiting == 4
        results.put(ONE, result())
        assert first.result() == second.result() == result()
        assert not other.done()
        assert not question.done()
    assert results.num_waiting == 0


async def test_what_is_known_is_there_at_once() -> None:
    results = Results(10_000)
    results.put(ONE, result())
    with results.awaited(ONE) as future:
        assert future.done()
    assert results.num_waiting == 0


async def test_a_result_that_is_too_large_to_keep_still_reaches_its_waiter() -> None:
    results = Results(OVERHEAD_BYTES)
    with results.awaited(ONE) as future:
        results.put(ONE, result(bytes(1_000)))
        assert future.done()
    assert results.get(ONE) is None
    assert (len(results), results.num_bytes) == (0, 0)


async def test_whoever_stops_waiting_leaves_nothing_behind() -> None:
    results = Results(10_000)

    async def wait() -> None:
        with results.awaited(ONE) as future:
            await future

    waiting = asyncio.create_task(wait())
    while not results.num_waiting:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert results.num_waiting == 0
    results.put(ONE, result())


def test_the_latest_of_one_subject_counts_whatever_comes_first() -> None:
    results = Results(10_000)
    results.put(ONE, Result("", FAILURE, 5))
    results.put(ONE, result(at_ms=4))
    assert results.get(ONE) == Result("", FAILURE, 5)
    results.put(ONE, result(b'{"replayed": true}', at_ms=6))
    assert results.get(ONE) == result(b'{"replayed": true}', at_ms=6)
    assert len(results) == 1


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3_000), st.integers(0, 5)), max_size=60),
    st.integers(1, 20_000),
)
def test_bytes_are_counted_right_and_never_above_the_bound(
    puts: list[tuple[int, int, int]], max_bytes: int
) -> None:
    results = Results(max_bytes)
    for number, size, at_ms in puts:
        results.put(Subject(Kind.LISTING, str(number)), result(bytes(size), at_ms))
        kept = [results.get(Subject(Kind.LISTING, str(each))) for each in range(21)]
        assert results.num_bytes == sum(each.num_bytes for each in kept if each is not None)
        assert results.num_bytes <= max_bytes
        assert len(results) == sum(each is not None for each in kept)


async def test_at_the_end_nobody_waits_any_more() -> None:
    results = Results(10_000)
    results.put(OTHER, result())
    with results.awaited(ONE) as future:
        results.close()
        assert future.cancelled()
    with results.awaited(ONE) as later, results.awaited(OTHER) as known:
        assert later.cancelled()
        assert known.result() == result()
    results.put(ONE, result())
