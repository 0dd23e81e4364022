"""The private names of Faust that `stream_app.fetching` stands on are still there and still mean the same.

A red test here after an upgrade of faust-streaming says which name to look at first.
"""

import inspect

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher as AiokafkaFetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState
from faust.app.base import App
from faust.tables import TableManager
from faust.transport import base
from faust.transport.conductor import Conductor
from faust.transport.consumer import Consumer, ConsumerThread, Fetcher, ThreadDelegateConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.queues import FlowControlQueue

from stream_app.fetching import (
    WholeFetchApp,
    WholeFetchConsumer,
    WholeFetchThread,
    WholeFetchTransport,
    prefetch_share,
)


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (Consumer, "_drain_messages", ["self", "fetcher"]),
        (Consumer, "_filter_tps_with_pending_acks", ["self", "topics"]),
        (Consumer, "_new_offset", ["self", "tp"]),
        (Consumer, "_should_commit", ["self", "tp", "offset"]),
        (Consumer, "_get_active_partitions", ["self"]),
        (Consumer, "wait_empty", ["self"]),
        (Consumer, "commit_and_end_transactions", ["self"]),
        (ConsumerThread, "call_thread", ["self", "fun", "args", "kwargs"]),
        (SubscriptionState, "is_assigned", ["self", "tp"]),
        (Assignment, "state_value", ["self", "tp"]),
        (ThreadDelegateConsumer, "_getmany", ["self", "active_partitions", "timeout"]),
        (ThreadDelegateConsumer, "_commit", ["self", "offsets"]),
        (ThreadDelegateConsumer, "_new_consumer_thread", ["self"]),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
        (driver.AIOKafkaConsumerThread, "_ensure_consumer", ["self"]),
        (driver.AIOKafkaConsumerThread, "seek_to_committed", ["self"]),
        (GroupCoordinator, "fetch_committed_offsets", ["self", "partitions"]),
        (AIOKafkaClient, "get_random_node", ["self"]),
        (driver.AIOKafkaConsumerThread, "on_partitions_assigned", ["self", "assigned", "generation_id"]),
        (App, "_new_transport", ["self"]),
        (App, "_create_directories", ["self"]),
        (App, "on_start", ["self"]),
        (App, "on_shutdown", ["self"]),
        (FlowControlQueue, "force_put_nowait", ["self", "item"]),
        (driver, "credentials_to_aiokafka_auth", ["credentials", "ssl_context"]),
    ],
)
def test_a_private_name_is_still_there(owner: object, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_the_fetcher_still_runs_drain_messages_and_the_stop_still_waits_for_empty_streams() -> None:
    assert "_drain_messages" in inspect.getsource(Fetcher)
    assert "consumer.wait_empty()" in inspect.getsource(App._consumer_wait_empty)
    assert "_consumer_wait_empty" in inspect.getsource(App._on_partitions_revoked)
    assert "_consumer_wait_empty" in inspect.getsource(App._stop_consumer)


def test_commits_are_still_asked_for_through_the_two_overridden_names() -> None:
    assert "_filter_tps_with_pending_acks" in inspect.getsource(Consumer.force_commit)
    assert "_new_offset" in inspect.getsource(Consumer._filter_committable_offsets)


def test_the_thread_still_commits_through_the_method_that_is_replaced() -> None:
    assert "await consumer.commit(aiokafka_offsets)" in inspect.getsource(driver.AIOKafkaConsumerThread)
    assert list(inspect.signature(AIOKafkaConsumer.commit).parameters) == ["self", "offsets"]


def test_consumer_and_producer_still_take_their_credentials_from_one_function() -> None:
    assert "credentials_to_aiokafka_auth" in inspect.getsource(driver.AIOKafkaConsumerThread)
    assert "credentials_to_aiokafka_auth" in inspect.getsource(driver.Producer)


def test_positions_are_still_read_where_the_consumer_keeps_them() -> None:
    assert "self._consumer" in inspect.getsource(driver.AIOKafkaConsumerThread._ensure_consumer)
    assert "self._thread" in inspect.getsource(ThreadDelegateConsumer.assignment)
    assert "self._subscription.subscription.assignment" in inspect.getsource(AIOKafkaConsumer.position)
    assert "state_value" in inspect.getsource(AIOKafkaConsumer.position)
    assert "has_valid_position" in inspect.getsource(AIOKafkaConsumer.position)


def test_the_manager_of_tables_still_starts_with_a_pause_and_these_two_steps_and_no_other() -> None:
    steps = inspect.getsource(TableManager.on_start).splitlines()
    waits = [step.strip() for step in steps if "await" in step]
    assert waits == [
        "await self.sleep(1.0)",
        "await self._update_channels()",
        "await self.recovery.start()",
    ]


def test_the_conductor_still_keeps_channels_by_topic_name() -> None:
    assert "_topic_name_index" in inspect.getsource(Conductor._update_indices)


def test_the_transport_makes_our_consumer_and_the_app_our_transport() -> None:
    app = WholeFetchApp("contract", broker="kafka://127.0.0.1:1", store="memory://")
    assert isinstance(app.transport, WholeFetchTransport)
    assert WholeFetchTransport.Consumer is WholeFetchConsumer
    assert "self.Consumer(" in inspect.getsource(base.Transport.create_consumer)


def test_a_partition_is_a_tuple_that_equals_ours() -> None:
    from stream_app.acknowledgement import TopicPartition

    assert {TP("a", 1): "found"}[TopicPartition("a", 1)] == "found"  # type: ignore[index]
    assert hash(TP("a", 1)) == hash(TopicPartition("a", 1))


@pytest.mark.parametrize(
    ("num_partitions", "share"), [(0, 4_000), (1, 4_000), (4, 4_000), (32, 500), (64, 250), (100_000, 1)]
)
def test_the_shares_of_all_partitions_stay_within_the_bound(num_partitions: int, share: int) -> None:
    assert prefetch_share(4_000, 16_000, num_partitions) == share
    assert num_partitions * share <= 16_000 or share == 1


def test_aiokafka_still_has_the_names_that_bound_a_fetch() -> None:
    assert "self._fetch_max_bytes" in inspect.getsource(AIOKafkaConsumer.start)
    assert "self._fetch_max_wait_ms" in inspect.getsource(AIOKafkaConsumer.start)
    assert "self._max_partition_fetch_bytes" in inspect.getsource(AiokafkaFetcher._get_actions_per_node)
    assert "_new_consumer_thread()" in inspect.getsource(ThreadDelegateConsumer)
    assert issubclass(WholeFetchThread, driver.AIOKafkaConsumerThread)
