"""How the embedded Kafka is configured: server properties, flags of the JVM, ports on loopback."""

import base64
import random
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stream_app.kafka_distribution import BrokerSetupError

HOST = "127.0.0.1"
MAX_MESSAGE_BYTES = 10 * 1024 * 1024
# Relative to the data folder, in which the JVM runs: Kafka reads an absolute path that holds a comma as two.
TOPICS_FOLDER = "topics"
TEMP_FOLDER = "tmp"
CONFIG_FILE = "server.properties"
JVM_FLAGS = (
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    # Native libraries are unpacked there and stay after a SIGKILL.
    f"-Djava.io.tmpdir={TEMP_FOLDER}",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


@dataclass(frozen=True, slots=True)
class Listener:
    """A further way into the embedded Kafka, beside the plain one.

    Attributes:
        name: In capitals.
        protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        port: On loopback.
        properties: Kafka's for this listener, without the prefix ``listener.name.NAME.``.
        advertised_host: Name by which clients are told to come back.
    """

    name: str
    protocol: str
    port: int
    properties: Mapping[str, str] = field(default_factory=dict)
    advertised_host: str = HOST

    @property
    def bootstrap(self) -> str:
        """``host:port`` for a Kafka client."""
        return f"{HOST}:{self.port}"


@dataclass(frozen=True, slots=True)
class BrokerSecurity:
    """Who may come in, and where.

    Attributes:
        listeners: Further ones for clients.
        scram_users: As ``kafka-storage format --add-scram`` takes them; they are written to a new folder.
    """

    listeners: tuple[Listener, ...] = ()
    scram_users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node's place in its cluster; every node is broker and controller.

    Attributes:
        cluster_id: The same for all nodes, see `new_cluster_id`.
        controller_ports: Of all nodes; that of node 1 comes first.
        node_id: From 1.
    """

    cluster_id: str
    controller_ports: tuple[int, ...]
    node_id: int = 1

    @property
    def controller_port(self) -> int:
        """On which this node talks to the others."""
        return self.controller_ports[self.node_id - 1]

    @property
    def voters(self) -> str:
        """All nodes as ``controller.quorum.voters`` has them."""
        return ",".join(f"{number}@{HOST}:{port}" for number, port in enumerate(self.controller_ports, 1))


def new_cluster_id() -> str:
    """An id for a cluster."""
    # The first byte is fixed because an id that begins with "-" would be read as an option.
    return base64.urlsafe_b64encode(b"S" + secrets.token_bytes(15)).rstrip(b"=").decode()


def server_properties(
    *,
    port: int,
    node: ClusterNode,
    listeners: Sequence[Listener] = (),
    overrides: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Kafka's configuration of a node that is broker and controller and runs in its data folder.

    Args:
        port: of the clients' listener.
        node: its place among the nodes.
        listeners: further ones for clients, with SASL or TLS.
        overrides: properties that replace or join the ones chosen here.
    """
    internal_topics = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    num_nodes = len(node.controller_ports)
    min_in_sync = str(num_nodes // 2 + 1)
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        **_listener_properties(port, node, listeners),
        "log.dirs": TOPICS_FOLDER,
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
        # One partition of each is enough here, and the fewer there are the sooner the first group can join.
        **{f"{topic}.replication.factor": str(num_nodes) for topic in internal_topics},
        **{f"{topic}.num.partitions": "1" for topic in internal_topics},
        **{f"{topic}.min.isr": min_in_sync for topic in internal_topics[1:]},
        "min.insync.replicas": min_in_sync,
        "group.initial.rebalance.delay.ms": "0",
        # After a SIGKILL the node waits for its own former session to end before it serves again.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        **(overrides or {}),
    }


def _listener_properties(port: int, node: ClusterNode, others: Sequence[Listener]) -> dict[str, str]:
    """The one place that knows the listeners; the plain one stays: `EmbeddedBroker` asks it for life."""
    for_clients = [Listener("PLAINTEXT", "PLAINTEXT", port), *others]
    open_for = [*for_clients, Listener("CONTROLLER", "PLAINTEXT", node.controller_port)]
    return {
        "listeners": ",".join(f"{each.name}://{each.bootstrap}" for each in open_for),
        "advertised.listeners": ",".join(
            f"{each.name}://{each.advertised_host}:{each.port}" for each in for_clients
        ),
        "listener.security.protocol.map": ",".join(f"{each.name}:{each.protocol}" for each in open_for),
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": node.voters,
        **{
            f"listener.name.{each.name.lower()}.{name}": value
            for each in others
            for name, value in each.properties.items()
        },
    }


def free_port() -> int:
    """A loopback port that nothing listens on, from below the range the kernel uses for outgoing connections.

    A port of that range can be lost between two starts of a broker, to the very client that waits for it: a
    TCP connection to a closed port of the range may connect to itself.

    Raises:
        BrokerSetupError: none was found.
    """
    for port in random.sample(range(20_000, 30_000), 100):
        if is_free(port):
            return port
    raise BrokerSetupError(f"None of 100 ports between 20000 and 29999 is free on {HOST}; choose one.")


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of 127.0.0.1 or of all addresses; old connections do not count."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True
