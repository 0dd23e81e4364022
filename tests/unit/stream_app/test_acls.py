"""What is needed against what is allowed, and the private names of aiokafka that it is asked with."""

import inspect
import re

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.api import Request
from aiokafka.protocol.metadata import MetadataRequest

from stream_app.acl_requests import TopicsRequest
from stream_app.acls import ALL_OPERATIONS, Needs, Operation, TopicAccess, missing, operations_of, told
from stream_app.errors import FatalError
from stream_app.topics import TopicSettings, gateway_needs, worker_needs

READ, WRITE = Operation.READ, Operation.WRITE


def test_a_worker_needs_each_operation_on_the_topics_it_uses_that_way() -> None:
    needs = worker_needs(TopicSettings(), "shelver", searches_categories=True)
    assert needs == Needs(
        {
            "product-listed": frozenset({READ}),
            "explanation-requested": frozenset({READ, WRITE}),
            "category-corrected": frozenset({READ}),
            "category-assigned": frozenset({READ, WRITE}),
            "category-explained": frozenset({WRITE}),
            "product-listed.dead-letter": frozenset({WRITE}),
        },
        "shelver",
    )
    assert set(needs.topics) == set(TopicSettings().all_topics)


def test_categories_are_only_read_to_find_events() -> None:
    needs = worker_needs(TopicSettings(), "shelver", searches_categories=False)
    assert needs.topics["category-assigned"] == {WRITE}


def test_a_gateway_writes_what_workers_read_reads_what_they_write_and_joins_no_group() -> None:
    worker = worker_needs(TopicSettings(), "shelver", searches_categories=False)
    gateway = gateway_needs(TopicSettings())
    assert gateway.group is None
    assert gateway.topics == {
        "product-listed": {READ, WRITE},
        "explanation-requested": {WRITE},
        "category-corrected": {WRITE},
        "category-assigned": {READ},
        "category-explained": {READ},
        "product-listed.dead-letter": {READ},
    }
    assert all(READ in worker.topics[name] for name, needed in gateway.topics.items() if WRITE in needed)


@pytest.mark.parametrize(
    ("bits", "operations"),
    [
        (0, set()),
        (1 << 3, {READ}),
        (1 << 3 | 1 << 4 | 1 << 8, {READ, WRITE, Operation.DESCRIBE}),
        (1 << 5 | 1 << 6 | 1 << 7, set()),
        (-(2**31), ALL_OPERATIONS),
    ],
)
def test_operations_come_as_bits_by_their_codes(bits: int, operations: set[Operation]) -> None:
    assert operations_of(bits) == operations


def test_all_that_is_missing_is_named() -> None:
    needs = Needs.of(reads=["in", "both"], writes=["both", "out"], group="us")
    topics = {
        "in": TopicAccess(exists=False, allowed=frozenset()),
        "both": TopicAccess(exists=True, allowed=frozenset({READ})),
        "out": TopicAccess(exists=True, allowed=frozenset({WRITE})),
    }
    assert missing(needs, topics, frozenset()) == [
        "READ on topic in",
        "WRITE on topic both",
        "READ on group us",
    ]
    assert missing(Needs.of(writes=["out"]), topics, frozenset()) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TopicAuthorizationFailedError("out"), "do not allow WRITE on topic out any more"),
        (TopicAuthorizationFailedError({"out"}), "do not allow WRITE on topic out any more"),
        (GroupAuthorizationFailedError("us"), "do not allow READ on group us any more"),
        (TopicAuthorizationFailedError(), "TopicAuthorizationFailedError"),
        (FatalError("broken"), "^broken$"),
        (None, "None"),
    ],
)
def test_an_error_in_words(error: BaseException | None, words: str) -> None:
    assert re.search(words, told(error, WRITE))


def test_the_newest_version_is_asked_that_brokers_have_and_no_topic_is_made_by_asking() -> None:
    request = TopicsRequest(["a"])
    for newest, version in ((4, 4), (7, 5), (13, 8)):
        built = request.prepare({3: (0, newest)})
        assert (built.API_VERSION, built.to_object()["allow_auto_topic_creation"]) == (version, False)


def test_the_private_names_of_aiokafka_are_still_there() -> None:
    assert list(inspect.signature(AIOKafkaAdminClient._send_request).parameters) == [
        "self",
        "request",
        "node_id",
    ]
    assert "reversed(self._CLASSES)" in inspect.getsource(Request.prepare)
    assert max(each.API_VERSION for each in MetadataRequest._CLASSES) == 5, "aiokafka may ask itself now"
