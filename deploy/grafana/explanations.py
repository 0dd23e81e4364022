"""How requests for explanations fare, beside the categories."""

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
)

REQUEST_REASONS = 'reason=~"unknown_event|unknown_category|empty_listing|output_too_large"'

EXPLANATIONS = Dashboard(
    "shelver-explanations",
    "Shelver / Explanations",
    "A lane of its own: an explanation that takes long delays no category.",
    (
        Row(
            "Now",
            (
                number(
                    "Explanations out",
                    "sum(rate(shelver_explained_total{@}[~]))",
                    PER_SECOND,
                    "Explanations that the brokers have confirmed, a second.",
                ),
                number(
                    "95 % within",
                    quantiles("shelver_explanation_latency_seconds", 0.95)[0].expression,
                    SECONDS,
                    "95th percentile of the age of a request when its explanation is published.",
                    limits=(10, 60),
                    alert="ShelverExplanationsLate",
                ),
                number(
                    "Requests waiting",
                    'sum(shelver_partition_lag_records{@, lane="explanations"})',
                    NUMBER,
                    "Requests in Kafka that are not answered.",
                    limits=(100, 1_000),
                    alert="ShelverExplanationsLate",
                ),
                number(
                    "Oldest request waits",
                    'max(shelver_watermark_age_seconds{@, lane="explanations"})',
                    SECONDS,
                    "Age of the oldest request that is not answered; 0 when none waits.",
                    limits=(10, 60),
                    alert="ShelverRecordsWait",
                ),
            ),
        ),
        Row(
            "Answers",
            (
                Panel(
                    "Explanations out",
                    "Those that share the work of another request for the same product cost next to nothing.",
                    PER_SECOND,
                    (
                        Query("sum(rate(shelver_explained_total{@}[~]))", "all"),
                        Query("sum(rate(shelver_explanations_shared_total{@}[~]))", "with shared work"),
                    ),
                ),
                Panel(
                    "From request to explanation",
                    "From the broker's timestamp of a request to its published explanation.",
                    SECONDS,
                    quantiles("shelver_explanation_latency_seconds", 0.5, 0.95, 0.99),
                    limits=(10, 60),
                    alert="ShelverExplanationsLate",
                ),
                Panel(
                    "Requests that cannot be answered",
                    "Dead letters of reasons that requests have: events that are too old to be found, "
                    "categories that the model does not have, products without text and picture (a listing "
                    "may have that one too), answers that are too large.",
                    PER_SECOND,
                    (
                        Query(
                            f"sum by (reason) (rate(shelver_dead_letters_total{{@, {REQUEST_REASONS}}}[~]))",
                            "{{reason}}",
                        ),
                    ),
                    is_stacked=True,
                    alert="ShelverDeadLetterShare",
                ),
            ),
        ),
        Row(
            "Where they wait",
            (
                Panel(
                    "Lag",
                    "Requests in Kafka that are not answered, of the ten partitions that lag most at each "
                    "time.",
                    NUMBER,
                    (
                        Query(
                            "topk(10, sum by (partition) "
                            '(shelver_partition_lag_records{@, lane="explanations"}))',
                            "partition {{partition}}",
                        ),
                    ),
                    alert="ShelverExplanationsLate",
                ),
                Panel(
                    "Wait for a batch",
                    "From the arrival of a request in the worker to its batch.",
                    SECONDS,
                    quantiles("shelver_explanation_queue_wait_seconds", 0.5, 0.95),
                ),
                Panel(
                    "Fetched and waiting",
                    "Requests in a worker that wait to be explained, and batches that are worked on.",
                    NUMBER,
                    (
                        Query("sum(shelver_explanation_queue_records{@})", "requests waiting"),
                        Query("sum(shelver_explanation_batches_in_flight{@})", "batches worked on"),
                    ),
                ),
                Panel(
                    "Share of the time spent explaining",
                    "Of one thread, by worker. Near 1 the lane is full: add workers, or lower "
                    "SHELVER_EXPLAIN_MAX_EVALUATIONS.",
                    SHARE,
                    (
                        Query(
                            'sum by (instance) (rate(shelver_stage_seconds_sum{@, stage="explain"}[~]))',
                            "{{instance}}",
                        ),
                    ),
                    maximum=1.0,
                    alert="ShelverExplanationsLate",
                ),
            ),
        ),
    ),
)
