"""A token endpoint on loopback, as an identity provider has it."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

CLIENT_ID = "shelver client"
CLIENT_SECRET = "cl13nt:s3cret/%"


class TokenEndpoint(ThreadingHTTPServer):
    """Gives unsigned tokens to the client that knows the secret; on loopback."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TokenRequest)
        self.num_tokens = 0
        self.num_refused = 0
        self.life_seconds = 3600

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/token"


class _TokenRequest(BaseHTTPRequestHandler):
    server: TokenEndpoint

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        wanted = base64.b64encode(b"shelver+client:cl13nt%3As3cret%2F%25").decode()
        if self.headers["Authorization"] != f"Basic {wanted}" or form["grant_type"] != ["client_credentials"]:
            self.server.num_refused += 1
            self._answer(401, {"error": "invalid_client", "error_description": self.headers["Authorization"]})
            return
        self.server.num_tokens += 1
        now = time.time()
        claims = {
            "sub": "token-user",
            "jti": self.server.num_tokens,
            "iat": now,
            "exp": now + self.server.life_seconds,
        }
        parts = (
            base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode()
            for each in ({"alg": "none"}, claims)
        )
        token = ".".join((*parts, ""))
        self._answer(
            200,
            {"access_token": token, "token_type": "Bearer", "expires_in": self.server.life_seconds},
        )

    def _answer(self, status: int, fields: dict[str, object]) -> None:
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def token_endpoint() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
