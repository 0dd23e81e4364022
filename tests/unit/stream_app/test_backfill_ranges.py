"""Which offsets a backfill scores."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stream_app.backfill_ranges import Offsets, Range, ranges
from stream_app.errors import SettingsError

BEGINNINGS = {0: 10, 1: 0}
ENDS = {0: 100, 1: 40}


@st.composite
def partitions(draw: st.DrawFn) -> tuple[dict[int, int], dict[int, int]]:
    """First offsets and ends of up to five partitions."""
    spans = draw(
        st.dictionaries(
            st.integers(0, 8), st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=5
        )
    )
    beginnings = {partition: beginning for partition, (beginning, _) in spans.items()}
    return beginnings, {partition: beginning + length for partition, (beginning, length) in spans.items()}


@pytest.mark.parametrize(
    ("words", "starts"),
    [
        (["0"], {0: 10, 1: 0}),
        (["30"], {0: 30, 1: 30}),
        (["70"], {0: 70, 1: 40}),
        (["100"], {0: 100, 1: 40}),
        (["0:50"], {0: 50}),
        (["1:3", "0:2"], {0: 10, 1: 3}),
        (["1:40"], {1: 40}),
    ],
)
def test_an_offset_is_for_all_partitions_or_for_those_that_are_named(
    words: list[str], starts: dict[int, int]
) -> None:
    assert Offsets.parse(words).starts("listed", BEGINNINGS, ENDS) == starts


@pytest.mark.parametrize(
    "words",
    [[""], ["-1"], ["1.5"], ["²"], [":"], ["0:"], [":5"], ["0:1:2"], ["a:1"], ["0:-1"], ["9" * 19], [" 1"]],
)
def test_what_is_no_offset_is_refused(words: list[str]) -> None:
    with pytest.raises(SettingsError, match="is no offset; write 120, or 0:120"):
        Offsets.parse(words)


@pytest.mark.parametrize("words", [["1", "2"], ["1", "0:2"], ["0:1", "0:2"]])
def test_offsets_that_contradict_each_other_are_refused(words: list[str]) -> None:
    with pytest.raises(SettingsError, match="one offset for all partitions"):
        Offsets.parse(words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("101", "--offset 101 is behind the end of every partition of listed: 0:100 1:40"),
        ("1:41", "--offset 1:41: listed-1 ends at 40"),
        ("2:0", "--offset 2:0: listed has no partition 2, but 0, 1"),
    ],
)
def test_an_offset_out_of_range_is_refused_with_what_there_is(word: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Offsets.parse([word]).starts("listed", BEGINNINGS, ENDS)
    assert str(caught.value) == message


@given(spans=partitions(), offset=st.integers(0, 100))
def test_one_offset_leaves_out_exactly_what_is_before_it(
    spans: tuple[dict[int, int], dict[int, int]], offset: int
) -> None:
    beginnings, ends = spans
    assume(offset <= max(ends.values()))
    found = ranges(Offsets.parse([str(offset)]).starts("listed", beginnings, ends), beginnings, ends, {})
    assert set(found) == set(ends)
    for partition, each in found.items():
        there = range(beginnings[partition], ends[partition])
        assert list(range(each.first, each.end)) == [number for number in there if number >= offset]


@given(spans=partitions(), data=st.data())
def test_a_run_that_goes_on_scores_what_is_left_whatever_it_is_told_and_nothing_twice(
    spans: tuple[dict[int, int], dict[int, int]], data: st.DataObject
) -> None:
    beginnings, ends = spans
    starts = {
        partition: data.draw(st.integers(beginnings[partition], end)) for partition, end in ends.items()
    }
    whole = ranges(starts, beginnings, ends, {})
    done = {partition: data.draw(st.integers(each.first, each.end)) for partition, each in whole.items()}
    later = {partition: data.draw(st.integers(first, ends[partition])) for partition, first in starts.items()}
    rest = ranges(later, beginnings, ends, done)
    assert {partition: range(each.first, each.end) for partition, each in rest.items()} == {
        partition: range(done[partition], end) for partition, end in ends.items()
    }
    assert not any(map(len, ranges(starts, beginnings, ends, ends).values()))


@given(spans=partitions(), committed=st.dictionaries(st.integers(0, 8), st.integers(0, 150)))
def test_ranges_never_leave_what_the_brokers_have(
    spans: tuple[dict[int, int], dict[int, int]], committed: dict[int, int]
) -> None:
    beginnings, ends = spans
    for partition, each in ranges(beginnings, beginnings, ends, committed).items():
        assert beginnings[partition] <= each.first <= each.end == ends[partition]


def test_a_commit_behind_the_end_is_of_a_topic_that_is_no_more() -> None:
    assert ranges({0: 20}, BEGINNINGS, ENDS, {0: 101}) == {0: Range(20, 100)}
