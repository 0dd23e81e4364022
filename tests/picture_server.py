"""A server of pictures under the test's control, and what it may answer.

127.0.0.1 stands for a public address: tests allow just that one. 127.0.0.2 stands for the private ones.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

PUBLIC = "127.0.0.1"
PRIVATE = "127.0.0.2"
PICTURE = b"\xff\xd8\xff\xe0 a picture"

Respond = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def allowing(*hosts: str) -> dict[str, Any]:
    """Settings of a worker that may fetch from the public address, and is told to trust these names."""
    return {
        "image_allow_http": True,
        "image_allowed_networks": json.dumps([f"{PUBLIC}/32"]),
        "image_allowed_hosts": json.dumps(hosts),
    }


class PictureServer:
    """A server under the test's control: counts connections, keeps requests, answers what it is told."""

    def __init__(self, respond: Respond | bytes = b"", host: str = PUBLIC, port: int = 0) -> None:
        self._respond = respond
        self._host = host
        self.port = port
        self.num_connections = 0
        self.requests: list[str] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    def url(self, path: str = "/1.jpg", host: str | None = None) -> str:
        return f"http://{host or self._host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        self._open.add(writer)
        try:
            while request := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                self.requests.append(request)
                if isinstance(self._respond, bytes):
                    writer.write(self._respond)
                else:
                    await self._respond(request.split()[1], writer)
                await writer.drain()
                if b"connection: close" in getattr(self._respond, "lower", bytes)():
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


def response(body: bytes = PICTURE, status: str = "200 OK", **headers: str) -> bytes:
    lines = {
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return response(b"", status, Location=location)
