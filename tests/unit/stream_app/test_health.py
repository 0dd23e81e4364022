"""The HTTP server beside the worker."""

import asyncio
import io
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from stream_app.errors import SettingsError
from stream_app.health import HealthReport, HealthServer, HealthSettings
from stream_app.metrics import ServiceMetrics


class Probe:
    """A probe that answers what the test says."""

    def __init__(self) -> None:
        self.answer: Callable[[], HealthReport] = lambda: HealthReport(
            healthy=True, detail={"model": "fusion@7"}
        )

    def __call__(self) -> HealthReport:
        return self.answer()


@pytest.fixture
def liveness() -> Probe:
    return Probe()


@pytest.fixture
def readiness() -> Probe:
    return Probe()


@pytest.fixture
async def server(liveness: Probe, readiness: Probe) -> AsyncIterator[HealthServer]:
    server = HealthServer(
        HealthSettings(metrics_port=0),
        liveness=liveness,
        readiness=readiness,
        exposition=ServiceMetrics().exposition,
    )
    await server.start()
    yield server
    await server.stop()


async def get(server: HealthServer, path: str, **options: Any) -> tuple[int, str, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}", **options) as response,
    ):
        is_json = response.content_type == "application/json"
        return response.status, response.headers["Content-Type"], await response.json() if is_json else {}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_healthy_worker_answers_200_with_its_detail(server: HealthServer, path: str) -> None:
    assert await get(server, path) == (
        200,
        "application/json; charset=utf-8",
        {"healthy": True, "model": "fusion@7"},
    )


async def test_an_unhealthy_worker_answers_503_with_its_detail(
    server: HealthServer, readiness: Probe
) -> None:
    readiness.answer = lambda: HealthReport(healthy=False, detail={"why": "no partition yet"})
    status, _, detail = await get(server, "/readyz")
    assert (status, detail) == (503, {"healthy": False, "why": "no partition yet"})
    assert (await get(server, "/healthz"))[0] == 200


async def test_a_probe_that_raises_is_unhealthy_and_logged(
    server: HealthServer, liveness: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> HealthReport:
        raise RuntimeError("a secret detail")

    liveness.answer = broken
    with caplog.at_level(logging.ERROR):
        assert (await get(server, "/healthz"))[::2] == (503, {"healthy": False, "error": "RuntimeError"})
    assert "a health probe failed" in caplog.text
    assert (await get(server, "/readyz"))[0] == 200


async def test_a_detail_that_is_no_json_is_told_as_text(server: HealthServer, readiness: Probe) -> None:
    readiness.answer = lambda: HealthReport(healthy=True, detail={"at": HealthSettings})
    assert (await get(server, "/readyz"))[0] == 200


async def test_metrics_are_given_in_the_format_asked_for(server: HealthServer) -> None:
    assert (await get(server, "/metrics"))[1].startswith("text/plain; version=0.0.4")
    asked = {"Accept": "application/openmetrics-text;version=1.0.0"}
    assert (await get(server, "/metrics", headers=asked))[1].startswith(
        "application/openmetrics-text; version=1.0.0"
    )


async def test_metrics_that_cannot_be_rendered_leave_the_probes_alone() -> None:
    def broken(_accept: str) -> tuple[bytes, str]:
        raise RuntimeError

    probe = Probe()
    server = HealthServer(HealthSettings(metrics_port=0), liveness=probe, readiness=probe, exposition=broken)
    await server.start()
    try:
        assert (await get(server, "/metrics"))[0] == 500
        assert (await get(server, "/healthz"))[0] == 200
    finally:
        await server.stop()


async def test_other_paths_and_methods_are_refused(server: HealthServer) -> None:
    assert (await get(server, "/"))[0] == 404
    async with aiohttp.ClientSession() as session:
        async with session.post(
            f"http://127.0.0.1:{server.port}/metrics", data=io.BytesIO(b"x" * 5_000_000)
        ) as response:
            assert response.status == 405
        async with session.head(f"http://127.0.0.1:{server.port}/healthz") as response:
            assert response.status == 200


async def test_garbage_on_the_port_does_not_end_the_server(server: HealthServer) -> None:
    for garbage in (b"\0\xff" * 1_000, b"GET /metrics HTTP/9.9\r\n\r\n", b"GET " + b"a" * 100_000, b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(garbage)
        writer.close()
        await reader.read()
    assert (await get(server, "/healthz"))[0] == 200


async def test_answers_come_fast(server: HealthServer) -> None:
    started = time.perf_counter()
    for path in ("/metrics", "/healthz", "/readyz"):
        await get(server, path)
    assert time.perf_counter() - started < 0.5


async def test_it_listens_on_loopback_only_by_default(server: HealthServer) -> None:
    assert HealthSettings().metrics_host == "127.0.0.1"
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", server.port))


async def test_a_port_that_is_taken_is_told_in_one_line(server: HealthServer) -> None:
    probe = Probe()
    second = HealthServer(
        HealthSettings(metrics_port=server.port),
        liveness=probe,
        readiness=probe,
        exposition=ServiceMetrics().exposition,
    )
    with pytest.raises(SettingsError, match=rf"127\.0\.0\.1:{server.port} .*SHELVER_METRICS_PORT"):
        await second.start()


async def test_an_address_of_another_machine_is_told_in_one_line() -> None:
    probe = Probe()
    settings = HealthSettings(metrics_host="192.0.2.1", metrics_port=0)
    server = HealthServer(settings, liveness=probe, readiness=probe, exposition=ServiceMetrics().exposition)
    with pytest.raises(SettingsError, match="SHELVER_METRICS_HOST"):
        await server.start()


async def test_stopping_frees_the_port_also_with_an_open_connection(server: HealthServer) -> None:
    port = server.port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.wait_for(server.stop(), 5)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    writer.close()


def test_the_port_is_unknown_before_the_start() -> None:
    probe = Probe()
    server = HealthServer(
        HealthSettings(), liveness=probe, readiness=probe, exposition=ServiceMetrics().exposition
    )
    with pytest.raises(RuntimeError, match="start"):
        _ = server.port


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="metrics_port"):
        HealthSettings(metrics_port=port)
