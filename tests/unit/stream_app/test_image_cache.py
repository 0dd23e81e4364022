"""What was fetched a short while ago is there again, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.image_cache import ADDRESS_OVERHEAD_BYTES, ImageCache, ImageCacheSettings

A, B, C = (f"https://shop.example/{name}.jpg" for name in "abc")
COST = ADDRESS_OVERHEAD_BYTES + len(A)


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def cache(clock: FakeClock, max_bytes: int = 10_000, seconds: float = 60.0) -> ImageCache:
    settings = ImageCacheSettings(image_cache_bytes=max_bytes, image_cache_seconds=seconds)
    return ImageCache(settings, clock=clock)


def test_a_picture_is_held_until_it_is_too_old(clock: FakeClock) -> None:
    held = cache(clock)
    held.put(A, b"picture")
    clock.now = 59.9
    assert held.get(A) == b"picture"
    assert held.get(B) is None
    clock.now = 60.0
    assert held.get(A) is None
    assert held.num_bytes == 0


def test_looking_does_not_make_a_picture_younger(clock: FakeClock) -> None:
    held = cache(clock)
    held.put(A, b"picture")
    for clock.now in (20.0, 40.0, 59.0):
        assert held.get(A) == b"picture"
    clock.now = 61.0
    assert held.get(A) is None


def test_one_content_is_held_once_however_many_addresses_lead_to_it(clock: FakeClock) -> None:
    held = cache(clock, max_bytes=1_000_000)
    for number in range(100):
        held.put(f"https://shop.example/{number:03}.jpg", bytes(bytearray(b"x" * 50_000)))
    assert held.num_bytes < 50_000 + 100 * 500
    assert held.get("https://shop.example/000.jpg") is held.get("https://shop.example/099.jpg")


def test_what_was_looked_up_longest_ago_goes_first(clock: FakeClock) -> None:
    held = cache(clock, max_bytes=2 * (COST + 1_000))
    held.put(A, b"a" * 1_000)
    held.put(B, b"b" * 1_000)
    assert held.get(A)
    held.put(C, b"c" * 1_000)
    assert [held.get(address) is not None for address in (A, B, C)] == [True, False, True]


def test_a_content_stays_while_one_of_its_addresses_does(clock: FakeClock) -> None:
    held = cache(clock, max_bytes=3 * COST + 1_500)
    held.put(A, b"x" * 1_000)
    held.put(B, b"x" * 1_000)
    held.put(C, b"c" * 600)
    assert (held.get(A), held.get(B), held.get(C)) == (None, b"x" * 1_000, b"c" * 600)
    held.put(A, b"a" * 600)
    assert (held.get(A), held.get(B), held.get(C)) == (b"a" * 600, None, b"c" * 600)


def test_a_picture_that_changed_replaces_the_one_before(clock: FakeClock) -> None:
    held = cache(clock)
    held.put(A, b"old" * 100)
    held.put(A, b"new")
    assert held.get(A) == b"new"
    assert held.num_bytes == COST + 3


def test_a_picture_larger_than_everything_drives_nothing_out(clock: FakeClock) -> None:
    held = cache(clock, max_bytes=COST + 1_000)
    held.put(A, b"a")
    held.put(B, b"b" * 2_000)
    assert held.get(A) == b"a"
    assert held.get(B) is None


@pytest.mark.parametrize("settings", [{"max_bytes": 0}, {"seconds": 0.0}])
def test_zero_turns_it_off(clock: FakeClock, settings: dict[str, int]) -> None:
    held = cache(clock, **settings)
    held.put(A, b"")
    assert held.get(A) is None
    assert held.num_bytes == 0


steps = st.tuples(st.sampled_from("gpt"), st.integers(0, 9), st.integers(0, 4), st.integers(0, 900))


@given(st.lists(steps, max_size=60), st.integers(0, 4_000))
def test_what_is_held_is_bounded_and_counted_right(
    todo: list[tuple[str, int, int, int]], max_bytes: int
) -> None:
    clock = FakeClock()
    held = cache(clock, max_bytes=max_bytes)
    put: dict[str, bytes] = {}
    for kind, place, letter, length in todo:
        address = f"https://shop.example/{place}.jpg"
        if kind == "p":
            put[address] = bytes([letter]) * length
            held.put(address, put[address])
        elif kind == "t":
            clock.now += length / 10
        elif (found := held.get(address)) is not None:
            assert found == put[address]
        addresses = sum(len(each) + ADDRESS_OVERHEAD_BYTES for each in held._entries)
        assert held.num_bytes == addresses + sum(map(len, held._contents.values()))
        assert held.num_bytes <= max_bytes
        assert {entry.digest for entry in held._entries.values()} == set(held._contents)
