"""What a measurement has found, as one JSON object, and as tables of Markdown for the documents."""

import os
from collections.abc import Sequence
from typing import Any

import torch

from stream_app.batching import BatchSettings

OURS = "shelver"


def conditions(model: str, *, identity: bool = False) -> dict[str, Any]:
    """What figures depend on: cores, device, model, and how batches are formed."""
    batching = BatchSettings()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "model": model,
        "identity": identity,
        "max_batch": batching.max_batch,
        "max_delay_ms": batching.max_delay_ms,
    }


def told(found: dict[str, Any]) -> str:
    """Conditions in one line."""
    model = "no model" if found["identity"] else f"model {found['model']}"
    return (
        f"{found['cores']} cores that also run Kafka and the load, {found['device']}, {model}, batches of"
        f" {found['max_batch']} or {found['max_delay_ms']:.0f} ms, one run"
    )


def ratios(results: Sequence[dict[str, Any]]) -> list[float | None]:
    """Events a second of each over those of the worker on the same kind; None where it was not measured."""
    ours = {each["kind"]: each["capacity"]["per_second"] for each in results if each["peer"] == OURS}
    return [
        each["capacity"]["per_second"] / ours[each["kind"]] if each["kind"] in ours else None
        for each in results
    ]


def throughput_table(results: Sequence[dict[str, Any]]) -> str:
    """A row for each peer on each kind of listings."""
    rows = []
    for each, ratio in zip(results, ratios(results), strict=True):
        capacity, idle, latencies = each["capacity"], each["idle"], each["latencies"].values()
        rows.append(
            [
                each["kind"],
                each["peer"],
                f"{capacity['per_second']:,.0f}",
                "" if ratio is None else f"{ratio:.2f}",
                f"{capacity['cpu_us']:,.0f}",
                f"{idle['p50_ms']:.0f}, {idle['p99_ms']:.0f}",
                *(f"{latency['p50_ms']:.0f}, {latency['p99_ms']:.0f}" for latency in latencies),
            ]
        )
    shares = [f"at {share}" for share in results[0]["latencies"]]
    head = ["listings", "peer", "events/s", "ratio", "CPU us", "idle: p50, p99 ms", *shares]
    return markdown(head, rows)


def scaling_table(results: Sequence[dict[str, Any]]) -> str:
    """A row for each number of workers on each kind of listings; the ratio is to the first of the kind."""
    first: dict[str, float] = {}
    rows = []
    for each in results:
        per_second = each["capacity"]["per_second"]
        ratio = per_second / first.setdefault(each["kind"], per_second)
        cpu_us = f"{each['capacity']['cpu_us']:,.0f}"
        rows.append([each["kind"], str(each["workers"]), f"{per_second:,.0f}", f"{ratio:.2f}", cpu_us])
    return markdown(["listings", "workers", "events/s", "ratio", "CPU us"], rows)


def stages_table(results: Sequence[dict[str, Any]]) -> str:
    """A row for each step, a column of processor time for each kind of listings, and their sum."""
    kinds = list(dict.fromkeys(each["listings"] for each in results))
    steps = list(dict.fromkeys(each["step"] for each in results))
    us = {(each["step"], each["listings"]): float(each["cpu_us_per_event"]) for each in results}
    rows = [[step, *(f"{us[step, kind]:,.0f}" for kind in kinds)] for step in steps]
    sums = ["sum", *(f"{sum(us[step, kind] for step in steps):,.0f}" for kind in kinds)]
    return markdown(["step, CPU us an event", *kinds], [*rows, sums])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
