"""Which offsets a backfill scores: from where it is told, up to the end at its start; pure.

Partitions are numbers here, since all of them are of one topic.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stream_app.errors import SettingsError

__all__ = ["Offsets", "Range", "ranges"]


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets ``first`` up to, but not including, ``end``; empty where both are the same."""

    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where to begin: one offset in all partitions, or one for each of those that are read.

    Attributes:
        everywhere: the offset for all partitions; None where they are named.
        by_partition: the offset of each partition that is named.
    """

    everywhere: int | None
    by_partition: Mapping[int, int]

    @classmethod
    def parse(cls, words: Sequence[str]) -> "Offsets":
        """Read ``120``, or ``0:120`` for partition 0, each partition once.

        Raises:
            SettingsError: a word is neither, or they contradict each other.
        """
        found = [_number_pair(word) for word in words]
        named = {partition: offset for partition, offset in found if partition is not None}
        if len(named) == len(found):
            return cls(None, named)
        if len(found) == 1:
            return cls(found[0][1], {})
        raise SettingsError(
            f"--offset {' '.join(words)[:60]!r} is not one offset for all partitions, nor one for each of"
            " them; write --offset 120, or --offset 0:120 --offset 1:80"
        )

    def starts(self, topic: str, beginnings: Mapping[int, int], ends: Mapping[int, int]) -> Mapping[int, int]:
        """The first offset of each partition that is read.

        An offset whose record the brokers have deleted stands for the first that they still have; one for all
        partitions leaves out those that end before it.

        Args:
            topic: for the message.
            beginnings: first offset that the brokers have, by partition.
            ends: offset behind the last record, by partition.

        Raises:
            SettingsError: a partition does not exist, or an offset is behind the end.
        """
        if self.everywhere is not None and self.everywhere > max(ends.values(), default=0):
            raise SettingsError(
                f"--offset {self.everywhere} is behind the end of every partition of {topic}:"
                f" {told(ends.items())}"
            )
        wanted = self.by_partition or {
            partition: min(self.everywhere or 0, end) for partition, end in ends.items()
        }
        for partition, offset in wanted.items():
            if partition not in ends:
                raise SettingsError(
                    f"--offset {partition}:{offset}: {topic} has no partition {partition}, but"
                    f" {', '.join(map(str, sorted(ends)))}"
                )
            if offset > ends[partition]:
                raise SettingsError(
                    f"--offset {partition}:{offset}: {topic}-{partition} ends at {ends[partition]}"
                )
        return {partition: max(offset, beginnings[partition]) for partition, offset in wanted.items()}


def _number_pair(word: str) -> tuple[int | None, int]:
    partition, separator, offset = word.rpartition(":")
    numbers = [offset, partition] if separator else [offset]
    if not all(number.isascii() and number.isdecimal() and len(number) < 19 for number in numbers):
        raise SettingsError(
            f"--offset {word[:40]!r} is no offset; write 120, or 0:120 for partition 0; --offset 0 begins at"
            " the first record there is"
        )
    return int(partition) if separator else None, int(offset)


def told(offsets: Iterable[tuple[int, int]]) -> str:
    """Offsets by partition, for people: ``0:120 1:80``."""
    return " ".join(f"{partition}:{offset}" for partition, offset in sorted(offsets))


def ranges(
    starts: Mapping[int, int],
    beginnings: Mapping[int, int],
    ends: Mapping[int, int],
    committed: Mapping[int, int],
) -> dict[int, Range]:
    """What is to be scored: a partition goes on where it was, and begins where it is told otherwise.

    Args:
        starts: where to begin, by partition that is read.
        beginnings: first offset that the brokers have.
        ends: offset behind the last record.
        committed: where an earlier run of the same backfill has come to; partitions without are left out. One
            behind the end says nothing: it is of a topic that was deleted and made anew.
    """
    found = {}
    for partition, start in starts.items():
        end = ends[partition]
        before = committed.get(partition)
        first = start if before is None or before > end else before
        found[partition] = Range(min(max(first, beginnings[partition]), end), end)
    return found
