"""What is written beside an offset tells whether it is of the topic that is there now."""

import pytest
from aiokafka.errors import IncompatibleBrokerVersion

from stream_app.topic_ids import commit_metadata, is_of_another_topic, topic_ids


@pytest.mark.parametrize(
    ("metadata", "topic_id", "is_another"),
    [
        (commit_metadata("a1"), "a1", False),
        (commit_metadata("a1"), "b2", True),
        (commit_metadata("a1"), None, False),
        (commit_metadata(None), "a1", False),
        ("", "a1", False),
        ("set by hand", "a1", False),
    ],
)
def test_only_another_id_makes_another_topic(metadata: str, topic_id: str | None, is_another: bool) -> None:
    assert is_of_another_topic(metadata, topic_id) is is_another


async def test_brokers_that_know_no_ids_tell_none() -> None:
    class OldBroker:
        def get_random_node(self) -> int:
            return 1

        async def send(self, _node: int, _request: object) -> object:
            raise IncompatibleBrokerVersion

    assert await topic_ids(OldBroker(), ["t"]) == {}
