"""How long it takes, and where."""

from deploy.grafana.panels import (
    NUMBER,
    PER_SECOND,
    SECONDS,
    SHARE,
    Dashboard,
    Panel,
    Query,
    Row,
    number,
    quantiles,
    ratio,
)

LATENCY = Dashboard(
    "shelver-latency",
    "Shelver / Latency",
    "How long a listing takes from Kafka to its category, and where that time goes.",
    (
        Row(
            "Now",
            (
                number(
                    "Half within",
                    quantiles("shelver_event_latency_seconds", 0.5)[0].expression,
                    SECONDS,
                    "Median age of a listing when its category is published.",
                ),
                number(
                    "99 % within",
                    quantiles("shelver_event_latency_seconds", 0.99)[0].expression,
                    SECONDS,
                    "99th percentile of that age.",
                    limits=(1, 5),
                    alert="ShelverLatencyHigh",
                ),
                number(
                    "Within a second",
                    ratio(
                        'sum(rate(shelver_event_latency_seconds_bucket{@, le="1.0"}[~]))',
                        "sum(rate(shelver_event_latency_seconds_count{@}[~]))",
                    ),
                    SHARE,
                    "Share of listings answered within a second.",
                ),
                number(
                    "Event loop late by",
                    "max(shelver_event_loop_lag_seconds{@})",
                    SECONDS,
                    "Most that an event loop was late in the last minute.",
                    limits=(0.5, 1),
                    alert="ShelverEventLoopLate",
                ),
            ),
        ),
        Row(
            "End to end",
            (
                Panel(
                    "From listing to category",
                    "From the broker's timestamp of a listing to its published category. The median "
                    "follows the batches, the top the pictures that are fetched and the lag.",
                    SECONDS,
                    quantiles("shelver_event_latency_seconds", 0.5, 0.95, 0.99),
                    limits=(1, 5),
                    alert="ShelverLatencyHigh",
                ),
                Panel(
                    "Wait for a batch",
                    "From the arrival of a record in the worker to its batch. Above "
                    "SHELVER_MAX_DELAY_MS all batches are taken: the worker is full.",
                    SECONDS,
                    quantiles("shelver_queue_wait_seconds", 0.5, 0.95, 0.99),
                    alert="ShelverLatencyHigh",
                ),
                Panel(
                    "Size of batches",
                    "Events that go through the model together.",
                    NUMBER,
                    (
                        *quantiles("shelver_batch_size", 0.5, 0.95),
                        Query("max(shelver_batch_limit_records{@})", "limit"),
                    ),
                ),
            ),
        ),
        Row(
            "Steps",
            (
                Panel(
                    "Time of a step, 95 %",
                    "Of one batch. Fetching pictures waits for other people's servers, the rest is this "
                    "machine.",
                    SECONDS,
                    quantiles("shelver_stage_seconds", 0.95, by="stage"),
                    alert="ShelverLatencyHigh",
                ),
                Panel(
                    "Time of a step, mean",
                    "Of one batch; steps that did not happen have no line.",
                    SECONDS,
                    (
                        Query(
                            ratio(
                                "sum by (stage) (rate(shelver_stage_seconds_sum{@}[~]))",
                                "sum by (stage) (rate(shelver_stage_seconds_count{@}[~]))",
                            ),
                            "{{stage}}",
                        ),
                    ),
                ),
                Panel(
                    "Event loop",
                    "Most that a loop was late in the last minute: something blocks it, or the CPU is taken.",
                    SECONDS,
                    (Query("max by (instance) (shelver_event_loop_lag_seconds{@})", "{{instance}}"),),
                    limits=(0.5, 1),
                    alert="ShelverEventLoopLate",
                ),
                Panel(
                    "Ages that cannot be true",
                    "Listings from the future or older than a day: a wrong clock, or a replay. They are "
                    "kept out of the latency.",
                    PER_SECOND,
                    (
                        Query(
                            "sum by (fault) (rate(shelver_event_age_out_of_range_total{@}[~]))", "{{fault}}"
                        ),
                    ),
                ),
            ),
        ),
    ),
)
