"""Asks the gateway: every answer has a type, and whatever goes wrong is one error that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from schemas.codec import encode
from schemas.errors import ShelverError
from schemas.products import ProductListed
from stream_app.console.answers import (
    Categories,
    Correction,
    ExplanationAnswer,
    Limits,
    Live,
    Problem,
    ProductAnswer,
    ProductAnswers,
    Promotion,
    ShopProduct,
    TrainingRun,
    TrainingRuns,
    VersionDetail,
    Versions,
)

__all__ = ["GatewayClient", "GatewayError", "http_client"]

A = TypeVar("A", bound=BaseModel)

CONNECT_SECONDS: Final = 3.0
MAX_CONNECTIONS: Final = 64
MAX_RETRY_SECONDS: Final = 60.0

_OF_PROXIES: Final = {413: "too-large", 429: "too-many-requests", 502: "unreachable", 504: "unreachable"}
"""What something between console and gateway answers in words of its own."""


class GatewayError(ShelverError):
    """The gateway refused, or did not answer.

    Attributes:
        kind: of the problem, such as `too-large`; `unreachable` and `unreadable` are the console's own.
        problem: what the gateway said, if it did.
        retry_seconds: how long it asks to wait.
    """

    def __init__(
        self, kind: str, detail: str, *, problem: Problem | None = None, retry_seconds: float | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.problem = problem
        self.retry_seconds = retry_seconds


def http_client(url: str, timeout_seconds: float) -> httpx.Client:
    """Connections to the gateway, shared by all visitors; used from any number of threads.

    Args:
        url: of the gateway.
        timeout_seconds: longest wait for an answer, beyond what a request asks the gateway to wait.
    """
    return httpx.Client(
        base_url=url,
        timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
        # A proxy or a netrc of whoever started the console has no business with the key.
        trust_env=False,
    )


class GatewayClient:
    """Asks in the name of one key.

    Args:
        http: connections to the gateway.
        key: sent with every request; None where none is needed.
    """

    def __init__(self, http: httpx.Client, key: str | None = None) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def limits(self) -> Limits:
        """How much the gateway takes.

        Raises:
            GatewayError: as every method.
        """
        return self._get(Limits, "/v1/limits")

    def send(
        self, fields: Mapping[str, str], *, picture: bytes | None = None, wait_seconds: float
    ) -> ProductAnswer:
        """Send a product and wait for its category; `pending` where that takes longer.

        Args:
            fields: `event_id`, `product_id`, `title`, `description`, `image_url`.
            picture: a file, in place of `image_url`.
            wait_seconds: how long.
        """
        files: dict[str, Any] = {name: (None, value) for name, value in fields.items()}
        if picture is not None:
            files["image"] = ("picture", picture, "application/octet-stream")
        return self._ask(ProductAnswer, "POST", "/v1/products", wait_seconds=wait_seconds, files=files)

    def send_all(self, listings: Sequence[ProductListed], *, wait_seconds: float) -> list[ProductAnswer]:
        """Send several products; what becomes of each, in their order."""
        body = b'{"products":[' + b",".join(encode(listing) for listing in listings) + b"]}"
        answers = self._ask(
            ProductAnswers, "POST", "/v1/products", wait_seconds=wait_seconds, content=body
        ).products
        if len(answers) != len(listings):
            raise _unreadable(f"{len(answers)} outcomes for {len(listings)} products")
        return answers

    def product(self, event_id: str, *, wait_seconds: float = 0.0) -> ProductAnswer:
        """What became of a product."""
        return self._get(ProductAnswer, f"/v1/products/{_segment(event_id)}", wait_seconds=wait_seconds)

    def listing(self, event_id: str) -> ProductListed:
        """A product as it was listed."""
        return self._get(ProductListed, f"/v1/products/{_segment(event_id)}/listing")

    def explain(self, question: Mapping[str, Any], *, wait_seconds: float) -> ExplanationAnswer:
        """Ask why; `pending` where it takes longer."""
        return self._ask(
            ExplanationAnswer, "POST", "/v1/explanations", wait_seconds=wait_seconds, json=question
        )

    def explanation(self, request_id: str, *, wait_seconds: float = 0.0) -> ExplanationAnswer:
        """What became of a question."""
        path = f"/v1/explanations/{_segment(request_id)}"
        return self._get(ExplanationAnswer, path, wait_seconds=wait_seconds)

    def correct(self, correction: Mapping[str, Any]) -> Correction:
        """Say what a category should have been."""
        return self._ask(Correction, "POST", "/v1/corrections", json=correction)

    def categories(self) -> Categories:
        """Those of the version that serves."""
        return self._get(Categories, "/v1/categories")

    def shop_page(self, url: str) -> ShopProduct:
        """The product that the page of a shop is about."""
        return self._ask(ShopProduct, "POST", "/v1/shop-pages", json={"url": url})

    def live(self, *, since: int = 0, most: int = 50) -> Live:
        """What streams through; of the latest only what came after `since`."""
        return self._get(Live, "/v1/live", params={"since": since, "most": most})

    def models(self) -> Versions:
        """Every version."""
        return self._get(Versions, "/v1/models")

    def version(self, name: str, version: str) -> VersionDetail:
        """All that a version says of itself."""
        return self._get(VersionDetail, f"/v1/models/{_segment(name)}/versions/{_segment(version)}")

    def promote(self, name: str, alias: str, version: str, *, force: bool = False) -> Promotion:
        """Make an alias mean a version."""
        path = f"/v1/models/{_segment(name)}/aliases/{_segment(alias)}"
        return self._ask(Promotion, "POST", path, json={"version": version, "force": force})

    def trainings(self) -> TrainingRuns:
        """Training runs, and catalogues that another may learn from."""
        return self._get(TrainingRuns, "/v1/training-runs")

    def training(self, run_id: str) -> TrainingRun:
        """A run and its curves."""
        return self._get(TrainingRun, f"/v1/training-runs/{_segment(run_id)}")

    def training_log(self, run_id: str) -> str:
        """The end of what a run said."""
        return self._request("GET", f"/v1/training-runs/{_segment(run_id)}/log").text

    def start_training(self, catalogue: str, settings: Mapping[str, Any]) -> TrainingRun:
        """Start a run."""
        body = {"catalogue": catalogue, "settings": settings}
        return self._ask(TrainingRun, "POST", "/v1/training-runs", json=body)

    def cancel_training(self, run_id: str) -> TrainingRun:
        """End a run that is going on."""
        return self._ask(TrainingRun, "DELETE", f"/v1/training-runs/{_segment(run_id)}")

    def _get(self, kind: type[A], path: str, **options: Any) -> A:
        return self._ask(kind, "GET", path, **options)

    def _ask(self, kind: type[A], method: str, path: str, **options: Any) -> A:
        response = self._request(method, path, **options)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise _unreadable(f"{error.error_count()} fields of its answer are not as expected") from error

    def _request(
        self, method: str, path: str, *, wait_seconds: float | None = None, **options: Any
    ) -> httpx.Response:
        headers = dict(self._headers)
        if "content" in options:
            headers["Content-Type"] = "application/json"
        if wait_seconds is not None:
            options["params"] = {"wait": f"{wait_seconds:g}"}
            longest = self._http.timeout.read
            options["timeout"] = httpx.Timeout(
                None if longest is None else longest + wait_seconds, connect=CONNECT_SECONDS
            )
        try:
            response = self._http.request(method, path, headers=headers, **options)
        except httpx.TimeoutException as error:
            raise GatewayError("unreachable", "the gateway did not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GatewayError("unreachable", f"the gateway cannot be reached ({error})") from error
        if not response.is_success:
            raise _refused(response)
        return response


def _refused(response: httpx.Response) -> GatewayError:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        kind = _OF_PROXIES.get(response.status_code, "unreadable")
        return GatewayError(kind, f"the answer is HTTP {response.status_code}, without a reason")
    return GatewayError(
        problem.kind,
        problem.detail or problem.title,
        problem=problem,
        retry_seconds=_seconds(response.headers.get("Retry-After")),
    )


def _unreadable(what: str) -> GatewayError:
    return GatewayError("unreadable", f"{what}; is it a gateway of this release?")


def _seconds(text: str | None) -> float | None:
    try:
        return min(max(0.0, float(text)), MAX_RETRY_SECONDS) if text else None
    except ValueError:
        return None


def _segment(text: str) -> str:
    return quote(text, safe="")
