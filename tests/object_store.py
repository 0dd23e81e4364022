"""An S3-compatible server in this process, which tells what it is asked and refuses what it is told to."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

BUCKET = "models"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "reader",
    "AWS_SECRET_ACCESS_KEY": "not-so-secret",  # pragma: allowlist secret
    "AWS_DEFAULT_REGION": "us-east-1",
}


class ObjectStore:
    """The server.

    Attributes:
        requests: method and path of each request, in order.
        refused: method and end of the path of requests that are answered with 403, or None.
        url: where it is.
        environment: what a process needs to find it.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.refused: tuple[str, str] | None = None
        self._answer: Any = DomainDispatcherApplication(create_backend_app)
        # One request at a time: moto looks for a file and creates it in two steps, a real store in one.
        self._turn = Lock()
        self._server = make_server(
            "127.0.0.1", 0, self._serve, threaded=True, request_handler=MotoRequestHandler
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.url}

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._turn:
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            self.requests.append(f"{method} {path}")
            if self.refused is not None and method == self.refused[0] and path.endswith(self.refused[1]):
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response("403 Forbidden", [("Content-Length", "0")])
                return []
            return list(self._answer(environ, start_response))

    @contextmanager
    def serving(self) -> Iterator["ObjectStore"]:
        """Serve until the block ends."""
        thread = Thread(target=self._server.serve_forever, name="object store")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
