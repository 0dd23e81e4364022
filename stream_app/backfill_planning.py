"""What a backfill has to do, asked of the brokers before a model is loaded, and how far it has come."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from aiokafka import TopicPartition as KafkaPartition

from models.repository import ModelLocation
from schemas.dead_letters import Reason
from stream_app.backfill_ranges import Offsets, Range, ranges, told
from stream_app.brokers import reach
from stream_app.errors import SettingsError, TopicError
from stream_app.settings import Settings
from stream_app.topic_ids import is_of_another_topic
from stream_app.topic_reading import Stretch, committed_offsets, offsets_since, open_stretch

__all__ = ["BackfillOptions", "BackfillPlan", "BackfillProgress", "open_plan"]


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """With what, from where, to where and how fast.

    Attributes:
        model: the version that scores.
        begin: listings written since then, or from these offsets on.
        output_topic: where answers go.
        group: the consumer group that remembers how far it has come; it is not joined.
        share: of the time that is worked, above 0, at most 1.
        per_second: most listings a second; None for no limit.
        dead_letter_topic: where what is rejected goes; None to count it only.
        restart: begin again.
    """

    model: ModelLocation
    begin: datetime | Offsets
    output_topic: str
    group: str
    share: float
    per_second: float | None = None
    dead_letter_topic: str | None = None
    restart: bool = False

    @property
    def written_topics(self) -> tuple[str, ...]:
        """The topics of its own that it writes to."""
        return (self.output_topic, *filter(None, [self.dead_letter_topic]))

    def check(self, settings: Settings) -> None:
        """Refuse what would meddle with the workers.

        Raises:
            SettingsError: a topic or the group is theirs.
        """
        for topic in self.written_topics:
            if topic in settings.all_topics:
                raise SettingsError(f"topic {topic} is the workers'; name one of the backfill's own")
        if self.output_topic == self.dead_letter_topic:
            raise SettingsError(f"topic {self.output_topic} cannot take answers and dead letters; name two")
        if self.group == settings.group:
            raise SettingsError(f"group {self.group} is the workers'; name one of the backfill's own")


@dataclass(slots=True)
class BackfillProgress:
    """How far a backfill has come; true also when it was interrupted.

    Attributes:
        ranges: what this run is to score, by partition.
        resumed: whether it goes on where an earlier run was.
        num_done: offsets that are dealt with and remembered, gaps counted.
        num_assigned: listings whose category the brokers confirmed.
        num_skipped: delistings.
        rejected: listings that have no answer, by reason.
        on_change: called after each change.
    """

    ranges: Mapping[int, Range] = field(default_factory=dict)
    resumed: bool = False
    num_done: int = 0
    num_assigned: int = 0
    num_skipped: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    on_change: Callable[[], None] = lambda: None

    @property
    def num_offsets(self) -> int:
        """All that are to be dealt with."""
        return sum(map(len, self.ranges.values()))

    @property
    def num_read(self) -> int:
        """Records that are dealt with."""
        return self.num_assigned + self.num_skipped + self.rejected.total()

    @property
    def is_finished(self) -> bool:
        """Whether everything is done."""
        return self.num_done == self.num_offsets


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What is to be read, and what is known of the topic."""

    stretch: Stretch
    num_partitions: int
    options: BackfillOptions


@asynccontextmanager
async def open_plan(
    settings: Settings, options: BackfillOptions, progress: BackfillProgress
) -> AsyncIterator[BackfillPlan]:
    """Find out what is to be scored.

    Args:
        settings: the brokers and the topic of the listings.
        options: from where, and in which group.
        progress: is told the ranges.

    Raises:
        TopicError: no broker answers, there is no such topic, or nothing in it is meant.
        AccessError: the brokers turn this client away, or do not allow what it needs.
        SettingsError: an offset is out of range.
    """
    topic = settings.product_listed_topic
    async with open_stretch(settings, topic, group=options.group) as stretch:
        committed = {} if options.restart else await _committed(stretch, options.group)
        beginnings, ends = _by_number(stretch.starts), _by_number(stretch.ends)
        if isinstance(options.begin, Offsets):
            starts = options.begin.starts(topic, beginnings, ends)
        else:
            starts = _by_number(await offsets_since(stretch, options.begin))
        progress.ranges = ranges(starts, beginnings, ends, committed)
        progress.resumed = bool(committed)
        if not (committed or progress.num_offsets):
            raise TopicError(_nothing(topic, options.begin, ends))
        planned = replace(
            stretch,
            starts={KafkaPartition(topic, number): each.first for number, each in progress.ranges.items()},
            ends={KafkaPartition(topic, number): each.end for number, each in progress.ranges.items()},
        )
        yield BackfillPlan(planned, len(ends), options)


def _by_number(offsets: Mapping[KafkaPartition, int]) -> dict[int, int]:
    return {partition.partition: offset for partition, offset in offsets.items()}


async def _committed(stretch: Stretch, group: str) -> dict[int, int]:
    """Where earlier runs have come to; nothing of a topic that was deleted and made anew."""
    async with reach(stretch.broker, stretch.arguments) as admin:
        found = await committed_offsets(admin, group)
    return {
        partition.partition: found[partition].offset
        for partition in stretch.ends
        if partition in found
        and found[partition].offset <= stretch.ends[partition]
        and not is_of_another_topic(found[partition].metadata, stretch.topic_id)
    }


def _nothing(topic: str, begin: datetime | Offsets, ends: Mapping[int, int]) -> str:
    if isinstance(begin, Offsets):
        return f"{topic} has no listing at that --offset or after; it ends at {told(ends.items())}"
    return (
        f"{topic} has no listing since {begin.isoformat(timespec='seconds')}; give an earlier --since, or"
        " --offset 0 for all that it has"
    )
