"""A peer: Faust as its guide shows it, ``stream.take`` and ``topic.send``.

Started by `tests.perf.throughput`: ``python -m tests.perf.peers.faust_take`` with the worker's variables.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import faust

from stream_app.settings import Settings, load_settings
from tests.perf.peers.work import Work


@dataclass(frozen=True, slots=True)
class _Record:
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def build_app(settings: Settings) -> faust.App:
    """An app with one agent."""
    work = Work(settings)
    app = faust.App(
        settings.group,
        broker=settings.broker,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    raw: dict[str, Any] = {
        "key_type": bytes,
        "value_type": bytes,
        "key_serializer": "raw",
        "value_serializer": "raw",
    }
    listed = app.topic(settings.product_listed_topic, **raw)
    assigned = app.topic(settings.category_assigned_topic, **raw)

    @app.agent(listed)
    async def classify(stream: Any) -> None:
        # take_events is take with the place of each value, which the output names.
        async for events in stream.take_events(settings.max_batch, within=settings.max_delay_ms / 1e3):
            records = [_record(event.message) for event in events]
            for each in await asyncio.to_thread(work.outgoing, records):
                headers = {name: value or b"" for name, value in each.headers}
                await assigned.send(key=each.key, value=each.value, headers=headers)

    return app


def _record(message: Any) -> _Record:
    return _Record(
        message.topic,
        message.partition,
        message.offset,
        int(1e3 * message.timestamp),
        message.key,
        message.value,
        list(message.headers or ()),
    )


if __name__ == "__main__":
    faust.Worker(build_app(load_settings()), loglevel="WARN").execute_from_commandline()
