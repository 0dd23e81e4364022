"""The embedded broker's configuration, and the ports it picks."""

import socket
from pathlib import Path

import pytest

from stream_app import broker_config
from stream_app.broker import BrokerError, BrokerSetupError, EmbeddedBroker
from stream_app.broker_config import HOST, ClusterNode, Listener, free_port, is_free, server_properties

ALONE = ClusterNode("S" * 22, (20_002,))


def test_a_single_node_is_broker_and_controller_and_creates_no_topic_unasked() -> None:
    properties = server_properties(port=20_001, node=ALONE)
    assert properties["process.roles"] == "broker,controller"
    assert properties["auto.create.topics.enable"] == "false"
    assert properties["message.max.bytes"] == properties["replica.fetch.max.bytes"] == str(10 * 2**20)
    assert properties["group.initial.rebalance.delay.ms"] == "0"


def test_all_internal_topics_fit_one_broker() -> None:
    properties = server_properties(port=20_001, node=ALONE)
    replication = {
        name: value
        for name, value in properties.items()
        if name.endswith((".replication.factor", ".min.isr"))
    }
    assert len(replication) == 5
    assert set(replication.values()) == {"1"}


def test_clients_and_controller_listen_on_loopback_only() -> None:
    listeners = server_properties(port=20_001, node=ALONE)["listeners"]
    assert listeners == "PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"


def test_a_further_listener_has_its_own_security_and_the_plain_one_stays() -> None:
    listener = Listener(
        "LOGIN", "SASL_SSL", 20_003, {"sasl.enabled.mechanisms": "PLAIN"}, advertised_host="a"
    )
    properties = server_properties(port=20_001, node=ALONE, listeners=[listener])
    assert properties["listeners"] == (
        "PLAINTEXT://127.0.0.1:20001,LOGIN://127.0.0.1:20003,CONTROLLER://127.0.0.1:20002"
    )
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:20001,LOGIN://a:20003"
    assert properties["listener.security.protocol.map"] == (
        "PLAINTEXT:PLAINTEXT,LOGIN:SASL_SSL,CONTROLLER:PLAINTEXT"
    )
    assert properties["listener.name.login.sasl.enabled.mechanisms"] == "PLAIN"
    assert listener.bootstrap == "127.0.0.1:20003"


def test_nodes_of_a_cluster_know_each_other_and_keep_two_replicas_of_three_in_sync() -> None:
    node = ClusterNode("S" * 22, (20_002, 20_003, 20_004), node_id=2)
    properties = server_properties(port=20_001, node=node)
    assert properties["node.id"] == "2"
    assert properties["listeners"].endswith("CONTROLLER://127.0.0.1:20003")
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:20002,2@127.0.0.1:20003,3@127.0.0.1:20004"
    assert properties["min.insync.replicas"] == "2"
    assert properties["offsets.topic.replication.factor"] == "3"


def test_overrides_win() -> None:
    properties = server_properties(port=20_001, node=ALONE, overrides={"message.max.bytes": "1", "x": "y"})
    assert (properties["message.max.bytes"], properties["x"]) == ("1", "y")


def test_a_picked_port_is_free_and_out_of_reach_of_outgoing_connections() -> None:
    ports = {free_port() for _ in range(20)}
    assert all(is_free(port) for port in ports)
    assert max(ports) < 32_768
    assert len(ports) > 1


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server((HOST, free_port())) as server:
        assert not is_free(server.getsockname()[1])


def test_no_free_port_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_config, "is_free", lambda _port: False)
    with pytest.raises(BrokerSetupError, match="100 ports between 20000 and 29999"):
        free_port()


def test_nothing_runs_before_the_start(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path)
    assert (broker.is_running, broker.pid, broker.port) == (False, None, 0)
    broker.stop()
    broker.kill()
    broker.freeze()
    broker.close()
    assert tmp_path.exists()


def test_waiting_for_a_broker_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="is not running"):
        EmbeddedBroker(tmp_path).wait()


def test_a_temporary_folder_goes_with_the_broker() -> None:
    broker = EmbeddedBroker()
    folder = broker.data_dir
    assert folder.is_dir()
    broker.close()
    assert not folder.exists()


def test_a_temporary_folder_goes_even_when_nobody_closes() -> None:
    folder = EmbeddedBroker().data_dir
    assert not folder.exists()
