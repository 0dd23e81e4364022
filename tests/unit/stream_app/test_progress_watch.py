"""From what the parts of a worker say to faults, without a broker."""

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from stream_app import progress_watch
from stream_app.acknowledgement import OffsetLedger, Span, TopicPartition
from stream_app.broker_questions import BrokerAnswers, BrokerQuestions
from stream_app.errors import FatalError
from stream_app.fetching import Flow
from stream_app.metric_labels import LaneKind
from stream_app.metrics import ServiceMetrics
from stream_app.progress_watch import ProgressWatch
from stream_app.settings import Settings
from tests.unit.stream_app.records import fetched

PARTITION = TopicPartition("product-listed", 0)


class World:
    """Brokers, consumer and lane that say what a test sets, and a clock that a look moves by five seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.ends: Mapping[TopicPartition, int] | None = {PARTITION: 0}
        self.topics = set(Settings().all_topics)
        self.topic_ids = {PARTITION.topic: "a1"}
        self.is_joined = True
        self.position: int | None = 0
        self.has_room = True
        self.seconds_in_flight = 0.0
        self.last_moved_at = float("-inf")
        self.kind = LaneKind.LISTINGS
        self.oldest_timestamp_ms = float("inf")
        self.flow = Flow(OffsetLedger(), on_commit=lambda _committed: None)

    def assigned(self) -> set[TopicPartition]:
        return {PARTITION} if self.is_joined else set()

    def joined(self) -> bool:
        return self.is_joined

    def positions(self, _partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {} if self.position is None else {PARTITION: self.position}

    async def ask(self, _partitions: set[TopicPartition], _named: Sequence[str] = ()) -> BrokerAnswers | None:
        self.now += 5.0
        return None if self.ends is None else BrokerAnswers(self.ends, self.topics, self.topic_ids)

    def monotonic(self) -> float:
        return self.now

    time = monotonic


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(progress_watch, "time", world)
    return world


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics()


@pytest.fixture
def watch(world: World, metrics: ServiceMetrics) -> ProgressWatch:
    return ProgressWatch(
        Settings(stall_seconds=60),
        world.flow,
        {PARTITION.topic: world},
        member=world,
        questions=cast(BrokerQuestions, world),
        metrics=metrics,
    )


async def faults_after(watch: ProgressWatch, seconds: float) -> str:
    for _ in range(int(seconds / 5)):
        await watch.look()
    return "; ".join(watch.faults)


async def test_a_fetch_loop_that_died_is_found_by_the_end_that_brokers_tell(
    world: World, watch: ProgressWatch, metrics: ServiceMetrics
) -> None:
    world.ends = {PARTITION: 7}
    assert not await faults_after(watch, 65)
    assert "product-listed-0 has 7 records waiting" in await faults_after(watch, 5)
    exposition = metrics.exposition()[0]
    assert b"shelver_consumer_lag_records 7.0" in exposition
    assert b"shelver_partitions_stalled 1.0" in exposition
    world.position = 7
    assert not await faults_after(watch, 5)


async def test_records_handed_over_and_never_done_are_found_also_while_others_arrive(
    world: World, watch: ProgressWatch
) -> None:
    for number in range(14):
        world.flow.hand_over(fetched(number, 1), world.now)
        world.position = number + 1
        world.ends = {PARTITION: number + 1}
        await watch.look()
    assert "product-listed-0 has 14 records waiting" in "; ".join(watch.faults)


async def test_records_that_get_done_are_progress(world: World, watch: ProgressWatch) -> None:
    for number in range(100):
        world.flow.hand_over(fetched(number, 1), world.now)
        world.position, world.ends = number + 1, {PARTITION: 500}
        spans = [Span(PARTITION, 1, number, number + 1)]
        world.flow.ledger.begin(spans)
        world.flow.ledger.done(spans)
        await watch.look()
        assert not watch.faults


async def test_a_lane_that_is_full_and_works_on_others_is_no_stall(
    world: World, watch: ProgressWatch
) -> None:
    world.ends, world.has_room = {PARTITION: 500}, False
    assert not await faults_after(watch, 1_000)


async def test_brokers_that_are_silent_are_no_stall_whether_joined_or_not(
    world: World, watch: ProgressWatch
) -> None:
    world.ends = None
    world.flow.hand_over(fetched(0, 9), world.now)
    assert not await faults_after(watch, 1_000)
    world.is_joined = False
    assert not await faults_after(watch, 1_000)


async def test_a_group_that_is_never_joined_is_found_later_than_a_rebalance_takes(
    world: World, watch: ProgressWatch
) -> None:
    world.is_joined = False
    assert not await faults_after(watch, 60 + 30)
    assert "the group is not joined after 95 s" in await faults_after(watch, 10)


async def test_a_batch_that_hangs_is_found_at_once_and_later_while_brokers_are_silent(
    world: World, watch: ProgressWatch
) -> None:
    world.seconds_in_flight = 150.0
    assert "a batch of product-listed has been in flight for 150 s" in await faults_after(watch, 5)
    world.ends = None
    assert not await faults_after(watch, 5)
    world.seconds_in_flight = 181.0
    assert "in flight for 181 s" in await faults_after(watch, 5)


async def test_missing_topics_are_named_until_they_are_back(world: World, watch: ProgressWatch) -> None:
    world.topics.remove("category-assigned")
    await watch.look()
    assert watch.missing_topics == ["category-assigned"]
    world.ends = None
    await watch.look()
    assert watch.missing_topics == ["category-assigned"], "silence does not bring it back"
    world.ends, world.topics = {PARTITION: 0}, set(Settings().all_topics)
    await watch.look()
    assert watch.missing_topics == []


async def test_a_fault_ends_the_worker_when_the_next_look_still_finds_it(
    world: World, watch: ProgressWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.seconds_in_flight = 0.0 if len(slept) == 2 else 150.0

    monkeypatch.setattr("stream_app.progress_watch.asyncio.sleep", sleep)
    with pytest.raises(FatalError, match="in flight for 150 s; what is unfinished is read again"):
        await watch.run()
    assert len(slept) == 4, "red, well again, red, and still red"


def test_what_was_handed_over_in_an_earlier_generation_does_not_count() -> None:
    flow = Flow(OffsetLedger(), on_commit=lambda _committed: None)
    assert flow.undone(PARTITION) is None
    flow.hand_over(fetched(10, 5, generation=1), 0.0)
    assert flow.undone(PARTITION) == 10
    flow.hand_over(fetched(15, 5, generation=1), 0.0)
    spans = [Span(PARTITION, 1, 10, 15)]
    flow.ledger.begin(spans)
    flow.ledger.done(spans)
    assert flow.undone(PARTITION) == 15
    flow.hand_over(fetched(12, 3, generation=2), 0.0)
    flow.ledger.close(1)
    assert flow.undone(PARTITION) == 12
    assert flow.fetched_since(PARTITION.topic, -1.0)
    assert not flow.fetched_since(PARTITION.topic, 0.0)


async def test_a_topic_that_was_made_anew_ends_the_worker_one_that_is_away_does_not(
    world: World, watch: ProgressWatch
) -> None:
    await watch.look()
    world.flow.topic_ids = {PARTITION.topic: "a1"}
    await watch.look()
    world.topic_ids = {}
    await watch.look()
    world.topic_ids = {PARTITION.topic: "b2"}
    with pytest.raises(FatalError, match="product-listed was deleted and made anew"):
        await watch.look()


async def test_lag_is_shown_for_each_partition_and_the_age_of_the_oldest_record_for_its_lane(
    world: World, watch: ProgressWatch, metrics: ServiceMetrics
) -> None:
    world.ends, world.oldest_timestamp_ms = {PARTITION: 7}, 1_000_000.0
    await watch.look()
    exposition = metrics.exposition()[0]
    assert b'shelver_partition_lag_records{lane="listings",partition="0"} 7.0' in exposition
    assert b'shelver_watermark_age_seconds{lane="listings"} 5.0' in exposition
    world.oldest_timestamp_ms = float("inf")
    for _ in range(4):
        await watch.look()
    assert b'shelver_watermark_age_seconds{lane="listings"} 20.0' in metrics.exposition()[0]
    world.is_joined = False
    await watch.look()
    exposition = metrics.exposition()[0]
    assert b"shelver_partition_lag_records{" not in exposition
    assert b'shelver_watermark_age_seconds{lane="listings"} 0.0' in exposition


async def test_the_age_of_listings_that_are_sent_anew_days_later_is_not_believed(
    world: World, watch: ProgressWatch, metrics: ServiceMetrics
) -> None:
    world.ends, world.oldest_timestamp_ms = {PARTITION: 7}, world.now * 1e3 - 2 * 86_400_000
    await watch.look()
    body = metrics.exposition()[0].decode()
    (age,) = [
        line for line in body.splitlines() if line.startswith('shelver_watermark_age_seconds{lane="list')
    ]
    assert float(age.rsplit(" ", 1)[1]) < 60
