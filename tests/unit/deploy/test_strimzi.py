"""The examples for Strimzi: the topics of the service, and users who may do what worker and gateway do."""

from typing import Any

from stream_app.acls import Operation
from stream_app.settings import Settings
from stream_app.topics import gateway_needs, worker_needs
from tests.deployment import DEPLOY, manifests, topics

TOPICS = manifests((DEPLOY / "strimzi" / "topics.yaml").read_text())
USERS = manifests((DEPLOY / "strimzi" / "user.yaml").read_text())


def test_topics_are_those_of_the_service() -> None:
    assert {topic["kind"] for topic in TOPICS} == {"KafkaTopic"}
    assert {topic["metadata"]["name"] for topic in TOPICS} == topics()
    assert {topic["metadata"]["labels"]["strimzi.io/cluster"] for topic in TOPICS} == {"main"}


def test_topics_survive_a_broker_and_hold_what_the_service_takes() -> None:
    settings = Settings()
    for topic in TOPICS:
        config = topic["spec"]["config"]
        assert 1 < config["min.insync.replicas"] < topic["spec"]["replicas"]
        if topic["metadata"]["name"] in (settings.product_listed_topic, settings.explanation_requested_topic):
            assert config["max.message.bytes"] > settings.max_message_bytes


def test_listings_and_requests_have_as_many_partitions() -> None:
    """A round robin over both gives each worker some of each."""
    assert len({topic["spec"]["partitions"] for topic in TOPICS}) == 1


def allowed(user: dict[str, Any]) -> dict[tuple[str, str], set[Operation]]:
    """What a user may do, by kind and name of the resource."""
    acls = user["spec"]["authorization"]["acls"]
    assert {acl["resource"]["patternType"] for acl in acls} == {"literal"}
    return {
        (acl["resource"]["type"], acl["resource"]["name"]): {
            Operation[operation.upper()] for operation in acl["operations"]
        }
        for acl in acls
    }


def test_users_may_do_what_worker_and_gateway_do_and_no_more() -> None:
    settings = Settings()
    worker, gateway = USERS
    assert [user["metadata"]["name"] for user in USERS] == ["shelver", "shelver-gateway"]
    needs = worker_needs(settings, settings.group, searches_categories=True)
    assert allowed(worker) == {
        **{("topic", name): set(operations) for name, operations in needs.topics.items()},
        ("group", settings.group): {Operation.READ},
    }
    of_gateway = gateway_needs(settings)
    assert of_gateway.group is None
    assert allowed(gateway) == {
        ("topic", name): set(operations) for name, operations in of_gateway.topics.items()
    }


def test_the_users_log_in_as_worker_and_gateway_can() -> None:
    assert {user["kind"] for user in USERS} == {"KafkaUser"}
    assert all(user["spec"]["authentication"] == {"type": "scram-sha-512"} for user in USERS)
