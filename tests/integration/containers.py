"""Commands of compose services under the constraints of their containers, without an image or a runtime.

Linux' own parts of a container: a root of its own that is read-only, a user id that nobody has, no
capability, no network but loopback, process 1 of its own. The root shows the programs and this checkout; what
a service mounts is mounted.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import psutil
import pytest

from stream_app.process_guard import guarded
from tests.deployment import image_environment, last

PROJECT: Final = Path(__file__).parents[2]
PATIENCE_SECONDS: Final = 240.0
_BUILD: Final = """
set -eu
root=$1 hosts=$2 uid=$3 tmp=$4; shift 4
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/tmp" "$root/proc" "$root/dev" "$root/etc"
mount -t tmpfs -o "$tmp" tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
for name in null zero full random urandom; do
    touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"; mount -t tmpfs -o size=64m,mode=1777 tmpfs "$root/dev/shm"
cp "$hosts" "$root/etc/hosts"
for name in bin lib lib32 lib64 sbin; do
    if [ -L "/$name" ]; then cp -P "/$name" "$root/$name"
    elif [ -d "/$name" ]; then set -- ":/$name:ro" "$@"; fi
done
while [ "$1" != -- ]; do
    from=$(echo "$1" | cut -d: -f1) to=$(echo "$1" | cut -d: -f2) mode=$(echo "$1" | cut -d: -f3); shift
    mkdir -p "$root$to"
    if [ "$from" = "" ]; then from=$to; fi
    if [ "$from" = "-" ]; then chown "$uid:$uid" "$root$to"; continue; fi
    mount --bind "$from" "$root$to"
    if [ "$mode" = ro ]; then mount -o remount,bind,ro "$root$to"; fi
done
shift
mount -o remount,ro "$root"
exec chroot "$root" setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all "$@"
"""


@dataclass(frozen=True)
class Container:
    """A command that runs, or has run."""

    process: "subprocess.Popen[bytes]"
    log: Path
    environment: Mapping[str, str]

    @property
    def pid(self) -> int:
        """The process id, outside, of the container's process 1."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                ids = _status(child.pid).get("NSpid", "").split()
                if len(ids) > 1 and ids[-1] == "1" and _status(child.pid)["NoNewPrivs"] == "1":
                    return child.pid
            time.sleep(0.05)
        raise AssertionError("the container has no process")

    def output(self) -> str:
        """What it has written so far, to standard output and error."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def exit_code(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end."""
        return self.process.wait(seconds)

    @property
    def status(self) -> dict[str, str]:
        """What the kernel says of its process 1."""
        return _status(self.pid)

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command beside it, as `docker exec` and a health check do."""
        uid = self.status["Uid"].split()[0]
        entry = ["nsenter", f"--target={self.pid}", "--all", "--root", "--wd"]
        drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
        return subprocess.run(
            [*entry, *drop, "--bounding-set=-all", *_with(self.environment), *command],
            capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip

    def files(self) -> dict[str, int]:
        """What is in its /tmp, and how large."""
        tmp = Path(f"/proc/{self.pid}/root/tmp")
        return {str(file.relative_to(tmp)): file.lstat().st_size for file in _files(tmp)}


class Machine:
    """A network of its own with loopback alone; containers share it, so that names reach each other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts = folder / "hosts"
        self._hosts.write_text("127.0.0.1 localhost kafka gateway\n")
        self._process: subprocess.Popen[bytes] | None = None
        self._num_containers = 0

    def __enter__(self) -> Self:
        command = [
            shutil.which("unshare") or "",
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec sleep infinity",
        ]
        self._process = subprocess.Popen(guarded(command), stdin=subprocess.PIPE)
        while psutil.Process(self._process.pid).name() != "sleep":
            assert self._process.poll() is None
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def inside(self, *command: str) -> list[str]:
        """A command that runs in this network, and otherwise as this process does."""
        assert self._process is not None
        return [shutil.which("nsenter") or "", f"--net=/proc/{self._process.pid}/ns/net", *command]

    @contextmanager
    def run(self, service: Mapping[str, Any], *more: str, volumes: Mapping[str, Path]) -> Iterator[Container]:
        """The command of a compose service, and ``more`` arguments, in a container of its own.

        Args:
            service: as the compose file has it.
            more: further arguments.
            volumes: folder of each volume that the service mounts.
        """
        self._num_containers += 1
        root = self._folder / f"root-{self._num_containers}"
        root.mkdir()
        environment = {
            **image_environment(),
            **service.get("environment", {}),
            "PATH": f"{sysconfig.get_path('scripts')}:/usr/bin:/bin",
            "PYTHONPATH": str(PROJECT),
        }
        entrypoint = service.get("entrypoint") or json.loads(last("ENTRYPOINT"))
        uid = service["user"].partition(":")[0]
        tmp = next(tmp.partition(":")[2] for tmp in service["tmpfs"] if tmp.startswith("/tmp:"))  # noqa: S108 - that of the container
        command = self.inside(
            "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
            "sh", "-c", _BUILD, "sh", str(root), str(self._hosts), uid, tmp,
            *_mounts(service, volumes), "--",
            *_with(environment), *entrypoint, *service["command"], *more,
        )  # fmt: skip
        log = root.with_suffix(".log")
        with log.open("wb") as output:
            process = subprocess.Popen(guarded(command), stdin=subprocess.PIPE, stdout=output, stderr=output)
        try:
            yield Container(process, log, environment)
        finally:
            # The guard ends what is still there when its standard input ends.
            process.communicate()

    def finish(self, service: Mapping[str, Any], *more: str, volumes: Mapping[str, Path]) -> str:
        """Run a service that ends by itself; its output."""
        with self.run(service, *more, volumes=volumes) as container:
            assert container.exit_code() == 0, container.output()
        return container.output()


def _mounts(service: Mapping[str, Any], volumes: Mapping[str, Path]) -> list[str]:
    """What the root shows: from, to, mode; later ones may lie in earlier ones."""
    shown = {Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), PROJECT}
    own = [f"-:{folder}:" for folder in last("RUN").split() if folder.startswith("/")]
    mounted = []
    for volume in service.get("volumes", ()):
        name, target, *mode = volume.split(":")
        mounted.append(f"{volumes[name]}:{target}:{''.join(mode)}")
    return [*(f":{folder}:ro" for folder in sorted(shown)), *own, *mounted]


def _with(environment: Mapping[str, str]) -> list[str]:
    return [
        "env",
        "-i",
        f"--chdir={last('WORKDIR')}",
        *(f"{name}={value}" for name, value in environment.items()),
    ]


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _files(folder: Path) -> Iterator[Path]:
    """The files of a file system, without those of others that are mounted in it."""
    device = folder.stat().st_dev
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if (Path(parent) / name).lstat().st_dev == device]
        yield from (Path(parent) / name for name in names)


def skip_without_namespaces() -> None:
    """Skip where the kernel, or who runs this, may not make containers."""
    tried: Sequence[str] = (
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "sh",
        "-c",
        "mount -t tmpfs t /mnt",
    )
    if sys.platform != "linux" or any(
        shutil.which(name) is None for name in ("unshare", "nsenter", "setpriv")
    ):
        pytest.skip("no Linux with util-linux")
    refused = subprocess.run(tried, capture_output=True, text=True, check=False)
    if refused.returncode:
        pytest.skip(f"no containers can be made here: {refused.stderr.strip()}")
