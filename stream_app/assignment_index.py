"""The latest assignments by their id, their event and their product, and where their listings stand."""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from models.labels import Code
from schemas.assignments import CategoryAssigned
from schemas.codec import decode
from schemas.corrections import CategoryCorrected
from schemas.errors import MessageError
from stream_app.batching import Record
from stream_app.places import Place

__all__ = ["Assigned", "AssignmentIndex"]


class Assigned(NamedTuple):
    """What is kept of an assignment; `place` is where its listing stands, None when it does not say."""

    assignment_id: str
    event_id: str
    product_id: str
    code: Code
    place: Place | None


class AssignmentIndex:
    """Finds assignments.

    Args:
        max_assignments: how many of the latest are kept; None keeps all.
        products: whose assignments are kept; None keeps those of all.
    """

    def __init__(
        self, max_assignments: int | None = None, *, products: Collection[str] | None = None
    ) -> None:
        self._max_assignments = max_assignments
        self._products = products
        self._by_id: OrderedDict[str, Assigned] = OrderedDict()
        self._of_event: dict[str, Assigned] = {}
        self._of_product: dict[str, Assigned] = {}

    def add(self, records: Iterable[Record]) -> None:
        """Take in category-assigned records; what is none of ours is passed over."""
        for record in records:
            if record.value is None:
                continue
            try:
                message = decode(CategoryAssigned, record.value, record.headers, default_event_id="unknown")
            except MessageError:
                continue
            if self._products is None or message.product_id in self._products:
                self._keep(message)

    def place(self, event_id: str) -> Place | None:
        """Where the listing of an event stands; None when it is not among the latest."""
        assigned = self._of_event.get(event_id)
        return None if assigned is None else assigned.place

    def about(self, correction: CategoryCorrected) -> Assigned | None:
        """The assignment that a correction is about; None when it is not among those kept.

        It is the one that is named, else the latest of the event, else the latest of the product. One of
        another product than the correction says is none.
        """
        if correction.assignment_id is not None:
            found = self._by_id.get(correction.assignment_id)
        elif correction.event_id is not None:
            found = self._of_event.get(correction.event_id)
        else:
            found = self._of_product.get(correction.product_id)
        return found if found is not None and found.product_id == correction.product_id else None

    def _keep(self, message: CategoryAssigned) -> None:
        source = message.source
        assigned = Assigned(
            message.assignment_id,
            message.event_id,
            message.product_id,
            message.category.code,
            None if source is None else (source.topic, source.partition, source.offset),
        )
        if (known := self._by_id.pop(assigned.assignment_id, None)) is not None:
            self._forget(known)
        self._by_id[assigned.assignment_id] = assigned
        self._of_event[assigned.event_id] = self._of_product[assigned.product_id] = assigned
        if self._max_assignments is not None and len(self._by_id) > self._max_assignments:
            self._forget(self._by_id.popitem(last=False)[1])

    def _forget(self, assigned: Assigned) -> None:
        for by_key, key in ((self._of_event, assigned.event_id), (self._of_product, assigned.product_id)):
            if by_key.get(key) is assigned:
                del by_key[key]
