"""The examples for Strimzi: the topics of the service, and a user who may do what the worker does."""

from stream_app.acls import Needs, Operation
from stream_app.settings import Settings
from stream_app.topics import worker_needs
from tests.deployment import DEPLOY, manifests, topics

TOPICS = manifests((DEPLOY / "strimzi" / "topics.yaml").read_text())
(USER,) = manifests((DEPLOY / "strimzi" / "user.yaml").read_text())


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


def test_the_user_may_do_what_the_worker_does_and_no_more() -> None:
    settings = Settings()
    acls = USER["spec"]["authorization"]["acls"]
    assert {acl["resource"]["patternType"] for acl in acls} == {"literal"}
    allowed = {
        (acl["resource"]["type"], acl["resource"]["name"]): {
            Operation[operation.upper()] for operation in acl["operations"]
        }
        for acl in acls
    }
    needs: Needs = worker_needs(settings, settings.group, searches_categories=True)
    assert allowed == {
        **{("topic", name): set(operations) for name, operations in needs.topics.items()},
        ("group", settings.group): {Operation.READ},
    }


def test_the_user_logs_in_as_the_worker_can() -> None:
    assert USER["kind"] == "KafkaUser"
    assert USER["spec"]["authentication"] == {"type": "scram-sha-512"}
