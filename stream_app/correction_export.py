"""What people corrected, as rows to train on: the latest correction of each product beside its listing.

Corrections are read first, then the assignments of their products, then one listing after the other, so
memory grows with the products that were corrected and not with the topics.
"""

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from aiokafka.errors import KafkaError

from models.files import staged_file
from schemas.codec import decode
from schemas.corrections import CategoryCorrected
from schemas.errors import MessageError
from schemas.products import ProductListed
from stream_app.assignment_index import Assigned, AssignmentIndex
from stream_app.batching import Record
from stream_app.catalogue_publishing import DeliveryError
from stream_app.errors import SettingsError
from stream_app.recent_listings import RecentListings, listing_of
from stream_app.settings import Settings
from stream_app.stages import origin
from stream_app.topic_reading import Stretch, fetches, open_stretch

__all__ = ["ExportProgress", "LatestCorrections", "check_output", "export_corrections", "training_row"]

FILE_NAMES = (".jsonl", ".ndjson")
FETCH_RECORDS = 1_000


@dataclass
class ExportProgress:
    """How far an export has come, and what became of the corrections.

    Attributes:
        num_done: records read, and products dealt with.
        num_total: of how many, as far as is known.
        num_exported: rows written.
        num_gone: products whose listing is no longer kept.
        num_unknown: products without such an assignment.
        num_withdrawn: products whose latest record is a null value.
        num_unusable: records that are no correction, or name no category.
        on_change: called when one of the numbers changes.
    """

    num_done: int = 0
    num_total: int = 0
    num_exported: int = 0
    num_gone: int = 0
    num_unknown: int = 0
    num_withdrawn: int = 0
    num_unusable: int = 0
    on_change: Callable[[], None] = field(default=lambda: None, repr=False)

    def expect(self, num: int) -> None:
        """Add to what is to be done."""
        self.num_total += num
        self.on_change()

    def did(self, num: int) -> None:
        """Add to what is done."""
        self.num_done += num
        self.on_change()


class LatestCorrections:
    """The latest word on each product; a null value takes all before it back."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[Record, CategoryCorrected | None]] = {}
        self.num_unusable = 0
        """Records that are no correction, or name no category."""

    def add(self, record: Record, *, max_bytes: int) -> None:
        """Take in a record of the topic."""
        try:
            correction = _correction(record, max_bytes)
        except MessageError:
            self.num_unusable += 1
            return
        if correction is not None and not str(correction.category.code).strip():
            self.num_unusable += 1
            return
        product_id = _key(record) if correction is None else correction.product_id
        before = self._said.get(product_id)
        if before is None or _is_later(record, before[0]):
            self._said[product_id] = (record, correction)

    @property
    def num_withdrawn(self) -> int:
        """Products whose latest record is a null value."""
        return sum(correction is None for _, correction in self._said.values())

    @property
    def corrections(self) -> list[CategoryCorrected]:
        """One of each product that has one."""
        return [correction for _, correction in self._said.values() if correction is not None]


def check_output(path: Path, *, force: bool) -> None:
    """Refuse a file that cannot be, or must not be, written.

    Raises:
        SettingsError: says why, and what to do.
    """
    if path.suffix.lower() not in FILE_NAMES:
        raise SettingsError(f"{path}: rows are written as JSON Lines; end the name in .jsonl")
    if path.is_dir():
        raise SettingsError(f"{path} is a folder; name a file")
    if path.exists() and not force:
        raise SettingsError(f"{path} is there already; --force overwrites it")


def training_row(listing: ProductListed, correction: CategoryCorrected) -> bytes:
    """One line of a catalogue: the product as it was listed, in the category that a person chose."""
    image = listing.image
    fields: dict[str, Any] = {
        "product_id": listing.product_id,
        "title": listing.title,
        "description": listing.description,
        "image": None if image is None else image.model_dump(exclude_none=True),
        "category": correction.category.code,
    }
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


async def export_corrections(
    settings: Settings, path: Path, progress: ExportProgress, *, since: datetime | None = None
) -> None:
    """Write the latest correction of each product with its listing; the whole file or none.

    Args:
        settings: the brokers and the topics.
        path: as `check_output` allows it; what is there is overwritten.
        progress: kept up to date.
        since: corrections written before do not count.

    Raises:
        TopicError: no broker answers, or a topic does not exist.
        AccessError: the brokers do not allow reading a topic.
        DeliveryError: the brokers stopped answering.
        SettingsError: the file cannot be written.
    """
    latest = LatestCorrections()
    async with open_stretch(settings, settings.category_corrected_topic, since=since) as stretch:
        await _read(stretch, latest, settings.max_message_bytes, progress)
    progress.num_withdrawn, progress.num_unusable = latest.num_withdrawn, latest.num_unusable
    corrections = latest.corrections
    progress.expect(len(corrections))
    async with open_stretch(settings, settings.category_assigned_topic) as stretch:
        index = await _assignments(stretch, {each.product_id for each in corrections}, progress)
    async with open_stretch(settings, settings.product_listed_topic) as stretch:
        numbers = {partition.partition for partition in stretch.ends}
        listings = RecentListings(
            settings.category_assigned_topic, 0, stretch.arguments, partitions_of=partial(_these, numbers)
        )
        try:
            with staged_file(path) as file:
                await _write_rows(file, corrections, index, _Listings(listings, settings), progress)
        except OSError as error:
            raise SettingsError(f"{path} cannot be written ({error.strerror or error})") from error
        finally:
            await listings.stop()


async def _read(
    stretch: Stretch, latest: LatestCorrections, max_bytes: int, progress: ExportProgress
) -> None:
    progress.expect(stretch.num_records)
    found = fetches(stretch, max_records=FETCH_RECORDS)
    async with aclosing(found):
        async for records in found:
            for record in records:
                latest.add(record, max_bytes=max_bytes)
            progress.did(len(records))


async def _assignments(
    stretch: Stretch, products: Collection[str], progress: ExportProgress
) -> AssignmentIndex:
    index, keys = AssignmentIndex(products=products), {product.encode() for product in products}
    progress.expect(stretch.num_records)
    found = fetches(stretch, max_records=FETCH_RECORDS)
    async with aclosing(found):
        async for records in found:
            index.add(record for record in records if record.key in keys)
            progress.did(len(records))
    return index


class _Listings:
    """Listings of assignments, one at a time."""

    def __init__(self, listings: RecentListings, settings: Settings) -> None:
        self._listings = listings
        self._topic = settings.product_listed_topic
        self._max_bytes = settings.max_message_bytes
        self._broker = settings.broker

    async def of(self, assigned: Assigned) -> ProductListed | None:
        """The listing, or None when it is no longer where it stood.

        Raises:
            DeliveryError: the brokers stopped answering.
        """
        place = assigned.place
        if place is None or place[0] != self._topic:
            return None
        try:
            found = await self._listings.find({assigned.event_id: place})
        except (KafkaError, TimeoutError) as error:
            raise DeliveryError(
                f"{self._broker} stopped answering while listings were read ({error!r}); try again"
            ) from error
        try:
            return listing_of(assigned.event_id, found, max_bytes=self._max_bytes)
        except MessageError:
            return None


async def _write_rows(
    file: BinaryIO,
    corrections: Sequence[CategoryCorrected],
    index: AssignmentIndex,
    listings: _Listings,
    progress: ExportProgress,
) -> None:
    for correction in corrections:
        assigned = index.about(correction)
        listing = None if assigned is None else await listings.of(assigned)
        if assigned is None:
            progress.num_unknown += 1
        elif listing is None:
            progress.num_gone += 1
        else:
            file.write(training_row(listing, correction))
            progress.num_exported += 1
        progress.did(1)


async def _these(numbers: Collection[int], _topic: str) -> Collection[int]:
    return numbers


def _correction(record: Record, max_bytes: int) -> CategoryCorrected | None:
    if record.value is None:
        return None
    return decode(
        CategoryCorrected,
        record.value,
        record.headers,
        default_event_id=origin(record),
        max_bytes=max_bytes,
    )


def _key(record: Record) -> str:
    return (record.key or b"").decode(errors="replace")


def _is_later(record: Record, other: Record) -> bool:
    """By offset within a partition; a key that moved to another one is judged by its time."""
    if record.partition == other.partition:
        return record.offset > other.offset
    return record.timestamp >= other.timestamp
