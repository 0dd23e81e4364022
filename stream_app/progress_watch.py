"""Asks the brokers every few seconds and ends a worker that gets nowhere."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from stream_app.acknowledgement import TopicPartition
from stream_app.broker_questions import ANSWER_SECONDS, BrokerAnswers, BrokerQuestions
from stream_app.errors import FatalError
from stream_app.fetching import Flow
from stream_app.metric_labels import LaneKind
from stream_app.metrics import SECONDS_PER_DAY, ServiceMetrics
from stream_app.progress import HeldFor, ProgressTracker, Reading
from stream_app.settings import Settings

logger = logging.getLogger(__name__)

MAX_INTERVAL_SECONDS = 5.0


class WatchedLane(Protocol):
    """What is asked of a lane."""

    @property
    def kind(self) -> LaneKind:
        """What its records are."""

    @property
    def oldest_timestamp_ms(self) -> float:
        """The earliest timestamp of a record that waits or is worked on; infinity when none has one."""

    @property
    def has_room(self) -> bool:
        """Whether more records should be fetched now."""

    @property
    def seconds_in_flight(self) -> float:
        """Since the oldest batch in flight began or went on."""

    @property
    def last_moved_at(self) -> float:
        """When a batch was last done or went on."""


class Membership(Protocol):
    """What is asked of the consumer."""

    def assigned(self) -> set[TopicPartition]:
        """Partitions of this worker now; empty for a standby."""

    def joined(self) -> bool:
        """Whether the group has given an assignment, empty or not."""

    def positions(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where the consumer reads next, as far as it knows."""


class ProgressWatch:
    """Finds what stands still: partitions, batches, joining the group.

    A fault is shown (`faults`) from the look that finds it, and ends the worker if the next look still does.

    Args:
        settings: the limits and the topics that must be there.
        flow: what was handed over and is done.
        lanes: by topic; filled before `run`.
        member: the consumer.
        questions: asks the brokers.
        metrics: where lag and stalls are shown.
    """

    def __init__(
        self,
        settings: Settings,
        flow: Flow,
        lanes: Mapping[str, WatchedLane],
        *,
        member: Membership,
        questions: BrokerQuestions,
        metrics: ServiceMetrics,
    ) -> None:
        self._settings = settings
        self._flow = flow
        self._lanes = lanes
        self._member = member
        self._questions = questions
        self._metrics = metrics
        self._interval = min(MAX_INTERVAL_SECONDS, settings.stall_seconds / 4)
        max_step = self._interval + ANSWER_SECONDS
        self._tracker = ProgressTracker(max_step)
        self._joining = HeldFor(max_step)
        self._looked_at = time.monotonic()
        self.faults: Sequence[str] = ()
        """What stands still, for people; empty when all is well."""
        self.missing_topics: Sequence[str] = ()
        """Topics that were not there when brokers last answered."""

    async def run(self) -> None:
        """Look every few seconds until cancelled.

        Raises:
            FatalError: something has stood still for too long, or a topic was made anew.
        """
        while True:
            await asyncio.sleep(self._interval)
            before = self.faults
            await self.look()
            if before and self.faults:
                raise FatalError("; ".join(self.faults) + "; what is unfinished is read again")

    async def look(self) -> None:
        """Ask once, and bring faults, missing topics and metrics up to date.

        Raises:
            FatalError: a topic was deleted and made anew.
        """
        assigned = self._member.assigned()
        answers = await self._questions.ask(assigned, list(self._flow.topic_ids))
        if answers is not None:
            self._require_same_topics(answers.topic_ids)
        now = time.monotonic()
        still = assigned & self._member.assigned()
        positions = self._member.positions(still)
        self._tracker.update({each: self._reading(each, positions, answers) for each in still}, now)
        stuck = answers is not None and not self._member.joined()
        joining = self._joining.observe(stuck, now)
        if answers is not None:
            self.missing_topics = sorted(set(self._settings.all_topics) - set(answers.topics))
        self._looked_at = now
        self._judge(joining, answered=answers is not None)

    def _require_same_topics(self, topic_ids: Mapping[str, str]) -> None:
        """In a topic made anew, positions are those of the old one: what is before them was not read."""
        for topic, known in self._flow.topic_ids.items():
            if topic_ids.get(topic, known) != known:
                raise FatalError(
                    f"topic {topic} was deleted and made anew; the next worker reads it from its beginning"
                )

    def _reading(
        self,
        partition: TopicPartition,
        positions: Mapping[TopicPartition, int],
        answers: BrokerAnswers | None,
    ) -> Reading:
        lane = self._lanes[partition.topic]
        handed = self._flow.handed_over.get(partition)
        return Reading(
            end=None if answers is None else answers.ends.get(partition),
            # A consumer that does not say where it is has at least read what it handed over.
            fetched=positions.get(partition, None if handed is None else handed.next),
            undone=self._flow.undone(partition),
            works=lane.last_moved_at > self._looked_at,
            is_full=not lane.has_room and not self._flow.fetched_since(partition.topic, self._looked_at),
        )

    def _judge(self, joining_seconds: float, *, answered: bool) -> None:
        limit = self._settings.stall_seconds
        stalls = self._tracker.stalls(limit)
        faults = [str(stall) for stall in stalls]
        # Others of the group may be waited for that long in good order.
        if joining_seconds > limit + self._settings.rebalance_seconds:
            faults.append(f"the group is not joined after {joining_seconds:.0f} s, though brokers answer")
        # While brokers are away a batch may wait for them as long as the publisher does.
        patience = self._settings.hang_seconds + (0 if answered else self._settings.publish_timeout_seconds)
        faults += [
            f"a batch of {topic} has been in flight for {lane.seconds_in_flight:.0f} s"
            for topic, lane in self._lanes.items()
            if lane.seconds_in_flight > patience
        ]
        for fault in faults:
            logger.error("no progress: %s", fault)
        self.faults = faults
        self._show(len(stalls))

    def _show(self, num_stalled: int) -> None:
        now_ms = time.time() * 1000
        self._metrics.progress(
            {
                (self._lanes[partition.topic].kind, partition.partition): lag
                for partition, lag in self._tracker.lags.items()
            },
            {
                lane.kind: max(
                    _believed((now_ms - lane.oldest_timestamp_ms) / 1000),
                    self._tracker.seconds_unfetched(topic),
                )
                for topic, lane in self._lanes.items()
            },
            num_stalled,
        )


def _believed(age_seconds: float) -> float:
    """An age by a record's timestamp; 0 beyond a day, which is listings sent anew or a wrong clock."""
    return age_seconds if age_seconds <= SECONDS_PER_DAY else 0.0
