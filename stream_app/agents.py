"""The agents: records into lanes, no logic, and nothing that can raise."""

from collections.abc import AsyncIterable, Callable

from stream_app.batching import Fetched
from stream_app.fetching import WholeFetchApp


def declare_agent(app: WholeFetchApp, topic: str, *, name: str, add: Callable[[Fetched], None]) -> None:
    """Declare the agent that hands every fetch of ``topic`` to ``add``.

    Args:
        app: the Faust app it belongs to.
        topic: what it reads, as raw bytes: a typed topic ends the agent on a value it cannot decode.
        name: its name in Faust's logs.
        add: takes records in; must not raise.
    """

    @app.agent(app.topic(topic, value_serializer="raw", key_serializer="raw"), name=name)
    async def agent(stream: AsyncIterable[Fetched]) -> None:
        async for fetched in stream:
            add(fetched)
