"""A peer: LitServe with dynamic batching.

Started by `tests.perf.throughput`: ``python -m tests.perf.peers.litserve_server`` with the variables of the
worker; ``POST /`` takes a listing and answers its category, ``GET /readyz`` tells when the model is warm.
LitServe parses the JSON of a request in its process of HTTP and gives the object to that of the model, where
it is written as JSON again for the work that all peers share (some us for a text).
"""

import json

from litserve import LitAPI, LitServer, Request, Response

from stream_app.settings import Settings, load_settings
from tests.perf.peers.work import Asked, Work


class CategoryApi(LitAPI):  # type: ignore[misc] # litserve is read without types
    """Listings in, category-assigned messages out, in batches."""

    def setup(self, device: str) -> None:
        """Load the model, in the process that will use it."""
        del device
        self._work = Work(load_settings())

    def decode_request(self, request: Request) -> Asked:
        """One listing; LitServe looks at the annotation, and then gives the JSON that was in the request."""
        return Asked(json.dumps(request, ensure_ascii=False).encode())

    def batch(self, inputs: list[Asked]) -> list[Asked]:
        """A batch is a list."""
        return inputs

    def predict(self, x: list[Asked]) -> list[bytes]:
        """Messages, in order."""
        return [each.value for each in self._work.outgoing(x)]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """A batch is a list."""
        return output

    def encode_response(self, output: bytes) -> Response:
        """The message as it is, which otherwise would be parsed and written once more."""
        return Response(output, media_type="application/json")


def serve(settings: Settings) -> None:
    """Answer requests until the process is ended."""
    api = CategoryApi(
        max_batch_size=settings.max_batch, batch_timeout=settings.max_delay_ms / 1e3, api_path="/"
    )
    server = LitServer(api, accelerator="cpu", timeout=False, healthcheck_path="/readyz", fast_queue=True)
    server.run(
        host=settings.metrics_host,
        port=settings.metrics_port,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    serve(load_settings())
