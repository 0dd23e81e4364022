"""The measurement of throughput still works, with every peer; how fast they are is not looked at."""

from pathlib import Path

import pytest

from stream_app.broker import EmbeddedBroker
from tests.perf import scaling, throughput
from tests.perf.peers.table import PEERS
from tests.perf.throughput import Plan

NUM_EVENTS = 24


@pytest.mark.parametrize(("peer", "identity"), [(peer, peer == "shelver") for peer in PEERS])
async def test_every_peer_can_be_measured(
    kafka: EmbeddedBroker, demo_repository: Path, tmp_path: Path, peer: str, *, identity: bool
) -> None:
    if (package := PEERS[peer].needs) is not None:
        pytest.importorskip(package)
    plan = Plan(demo_repository, "demo", identity=identity, num_events=NUM_EVENTS, num_connections=8)
    runs = throughput.run(plan, kafka.bootstrap, tmp_path, ["mixed"], [peer])
    (measured,) = [each async for each in runs]
    assert measured.peer == peer
    assert measured.capacity.per_second > 0
    assert measured.latencies.keys() == {"50%", "90%"}
    assert all(0 < each.p50_ms <= each.p99_ms for each in (measured.idle, *measured.latencies.values()))


async def test_workers_of_one_group_can_be_measured_together(
    kafka: EmbeddedBroker, demo_repository: Path, tmp_path: Path
) -> None:
    plan = Plan(demo_repository, "demo", num_events=NUM_EVENTS)
    runs = scaling.run(plan, kafka.bootstrap, tmp_path, [scaling.IDENTITY], [2])
    (scaled,) = [each async for each in runs]
    assert scaled.workers == 2
    assert scaled.capacity.per_second > 0
