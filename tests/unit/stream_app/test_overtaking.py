"""Texts do not wait for pictures, and results of one product are sent in the order of its listings."""

import asyncio
import json
import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from stream_app.overtaking import Overtaking, Part
from stream_app.preparing import decode_records
from stream_app.stages import Decoded
from tests.unit.stream_app.records import PlainRecord

Kind = tuple[str, bool]
"""Of a listing: its product, and whether it has a picture."""


def batch(first: int, kinds: Sequence[Kind]) -> Decoded:
    records = [_record(first + place, *kind) for place, kind in enumerate(kinds)]
    return decode_records(records, max_bytes=2**20)


def _record(number: int, product: str, has_picture: bool) -> PlainRecord:
    body: dict[str, object] = {"event_id": f"e-{number}", "product_id": product, "title": "Lampe"}
    if has_picture:
        body["image"] = {"data": "aGVsbG8="}
    return PlainRecord(offset=number, value=json.dumps(body).encode())


def events(part: Part) -> list[str]:
    return [listing.product.event_id for listing in part.decoded.listings]


async def is_free(part: Part) -> bool:
    try:
        async with asyncio.timeout(0.01):
            await part.turn.come()
    except TimeoutError:
        return False
    return True


async def test_texts_go_before_the_pictures_of_their_batch_and_of_those_before() -> None:
    order = Overtaking()
    first_texts, first_pictures = order.split(batch(0, [("a", True), ("b", False)]))
    (second,) = order.split(batch(2, [("c", False)]))
    assert (events(first_texts), events(first_pictures)) == (["e-1"], ["e-0"])
    assert not await is_free(second)
    first_texts.turn.is_over()
    assert await is_free(second)
    assert await is_free(first_pictures)


async def test_a_text_of_a_product_waits_for_its_picture_and_those_after_it_wait_too() -> None:
    order = Overtaking()
    (pictures,) = order.split(batch(0, [("a", True), ("a", False)]))
    (same,) = order.split(batch(2, [("a", False)]))
    (other,) = order.split(batch(3, [("b", False)]))
    assert events(pictures) == ["e-0", "e-1"]
    assert not await is_free(same)
    pictures.turn.is_over()
    assert await is_free(same)
    assert not await is_free(other)
    same.turn.is_over()
    assert await is_free(other)
    (again,) = order.split(batch(4, [("a", False)]))
    other.turn.is_over()
    assert await is_free(again)


def test_what_is_rejected_and_what_is_delisted_is_in_one_part_only() -> None:
    order = Overtaking()
    broken, gone = PlainRecord(offset=8, value=b"{"), PlainRecord(offset=9, value=None)
    for kinds in ([], [("a", True)], [("a", False)], [("a", True), ("b", False)]):
        records = [_record(place, *kind) for place, kind in enumerate(kinds)]
        parts = order.split(decode_records([*records, broken, gone], max_bytes=2**20))
        assert sum(len(part.decoded.rejected) for part in parts) == 1
        assert sum(part.decoded.num_delistings for part in parts) == 1
        assert sum(len(part.decoded.listings) for part in parts) == len(kinds)


@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=6), min_size=1, max_size=12
    ),
    seed=st.integers(0, 2**32),
)
def test_whatever_takes_how_long_each_product_keeps_its_order_and_nothing_waits_forever(
    batches: list[list[Kind]], seed: int
) -> None:
    sent: list[tuple[str, int]] = []
    pause = random.Random(seed)  # noqa: S311 - nothing secret

    async def classify(part: Part) -> None:
        for _ in range(pause.randrange(4)):
            await asyncio.sleep(0)
        await part.turn.come()
        sent.extend((each.product.product_id, each.record.offset) for each in part.decoded.listings)
        await asyncio.sleep(0)
        part.turn.is_over()

    async def run() -> None:
        order, first = Overtaking(), 0
        async with asyncio.timeout(10), asyncio.TaskGroup() as parts:
            for kinds in batches:
                for part in order.split(batch(first, kinds)):
                    parts.create_task(classify(part))
                first += len(kinds)
                for _ in range(pause.randrange(3)):
                    await asyncio.sleep(0)

    asyncio.run(run())
    assert len(sent) == sum(map(len, batches))
    for product in "abcde":
        offsets = [offset for each, offset in sent if each == product]
        assert offsets == sorted(offsets)
