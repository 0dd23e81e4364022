"""What comes in, goes out and waits."""

from deploy.grafana.panels import (
    BYTES,
    DEAD_LETTERS,
    DEAD_LETTERS_NOW,
    NUMBER,
    PER_SECOND,
    SECONDS,
    SHARE,
    Dashboard,
    Panel,
    Query,
    Row,
    number,
    ratio,
)

THROUGHPUT = Dashboard(
    "shelver-throughput",
    "Shelver / Throughput",
    "What comes in, what goes out, what waits, and where a worker is full.",
    (
        Row(
            "Now",
            (
                number(
                    "Workers",
                    "count(shelver_build_info{@})",
                    NUMBER,
                    "Workers that answer Prometheus.",
                    alert="ShelverWorkerDown",
                ),
                number(
                    "Records in",
                    "sum(rate(shelver_records_consumed_total{@}[~]))",
                    PER_SECOND,
                    "Listings and delistings that were dealt with, a second.",
                ),
                number(
                    "Categories out",
                    "sum(rate(shelver_assigned_total{@}[~]))",
                    PER_SECOND,
                    "Categories that the brokers have confirmed, a second.",
                ),
                number(
                    "Lag",
                    "sum(shelver_consumer_lag_records{@})",
                    NUMBER,
                    "Records in Kafka that are not dealt with, all lanes together.",
                    limits=(1_000, 10_000),
                    alert="ShelverLagGrowing",
                ),
                number(
                    "Oldest record waits",
                    "max(shelver_watermark_age_seconds{@})",
                    SECONDS,
                    "Age of the oldest record that is not dealt with; 0 when nothing waits.",
                    limits=(60, 300),
                    alert="ShelverRecordsWait",
                ),
                DEAD_LETTERS_NOW,
            ),
        ),
        Row(
            "In and out",
            (
                Panel(
                    "Records in",
                    "Records of the listings topic that were dealt with, by what they were.",
                    PER_SECOND,
                    (
                        Query(
                            "sum by (outcome) (rate(shelver_records_consumed_total{@}[~]))",
                            "{{outcome}}",
                        ),
                    ),
                    is_stacked=True,
                ),
                Panel(
                    "Events out",
                    "What the brokers have confirmed. In without out is what the lag row is for.",
                    PER_SECOND,
                    (
                        Query("sum(rate(shelver_assigned_total{@}[~]))", "categories"),
                        Query("sum(rate(shelver_explained_total{@}[~]))", "explanations"),
                        Query(DEAD_LETTERS, "dead letters"),
                    ),
                    alert="ShelverDeadLetterShare",
                ),
                Panel(
                    "Categories",
                    "The ten most assigned categories at each time, by code. A mix that turns over at once "
                    "is a new feed or a broken one: see drift on the page of quality.",
                    PER_SECOND,
                    (
                        Query(
                            "topk(10, sum by (category) (rate(shelver_categories_assigned_total{@}[~])))",
                            "{{category}}",
                        ),
                    ),
                    is_stacked=True,
                ),
            ),
        ),
        Row(
            "What waits",
            (
                Panel(
                    "Lag by lane",
                    "Records in Kafka that are not dealt with. A lag that grows wants more workers, up to "
                    "one for each partition.",
                    NUMBER,
                    (Query("sum by (lane) (shelver_partition_lag_records{@})", "{{lane}}"),),
                    alert="ShelverLagGrowing",
                ),
                Panel(
                    "Lag by partition",
                    "The ten partitions that lag most at each time. One far above the rest is stuck, or "
                    "holds a key that has most of the traffic.",
                    NUMBER,
                    (
                        Query(
                            "topk(10, sum by (lane, partition) (shelver_partition_lag_records{@}))",
                            "{{lane}} {{partition}}",
                        ),
                    ),
                    alert="ShelverPartitionStalled",
                ),
                Panel(
                    "Age of the oldest record",
                    "By the broker's timestamp, of what waits or is worked on. It grows a second a second "
                    "while nothing comes out.",
                    SECONDS,
                    (Query("max by (lane) (shelver_watermark_age_seconds{@})", "{{lane}}"),),
                    limits=(60, 300),
                    alert="ShelverRecordsWait",
                ),
                Panel(
                    "Partitions that stall",
                    "Partitions with records and without progress, as the worker itself finds; it ends "
                    "right after.",
                    NUMBER,
                    (Query("sum by (instance) (shelver_partitions_stalled{@})", "{{instance}}"),),
                    limits=(1, 1),
                    alert="ShelverPartitionStalled",
                ),
            ),
        ),
        Row(
            "Saturation",
            (
                Panel(
                    "Batch fill",
                    "Mean size of a batch as a share of its limit. Near 1 under lag: the worker is full. "
                    "Low under lag: something else holds it up.",
                    SHARE,
                    (
                        Query(
                            ratio(
                                "sum by (instance) (rate(shelver_batch_size_sum{@}[~]))",
                                "sum by (instance) (rate(shelver_batch_size_count{@}[~]))",
                            )
                            + " / on (instance) max by (instance) (shelver_batch_limit_records{@})",
                            "{{instance}}",
                        ),
                    ),
                    maximum=1.0,
                    alert="ShelverLagGrowing",
                ),
                Panel(
                    "Where batches are",
                    "Seconds of each step in a second: batches in it at once. The step that takes most is "
                    "the one to make faster.",
                    NUMBER,
                    (Query("sum by (stage) (rate(shelver_stage_seconds_sum{@}[~]))", "{{stage}}"),),
                    is_stacked=True,
                    alert="ShelverLatencyHigh",
                ),
                Panel(
                    "Fetched and waiting",
                    "Records in a worker that wait for a batch, and batches that are worked on.",
                    NUMBER,
                    (
                        Query("sum(shelver_queue_records{@})", "records waiting"),
                        Query("sum(shelver_batches_in_flight{@})", "batches worked on"),
                    ),
                ),
                Panel(
                    "Bytes waiting",
                    "Bounded by SHELVER_MAX_BUFFERED_BYTES; at the bound nothing more is fetched.",
                    BYTES,
                    (Query("sum by (instance) (shelver_queue_bytes{@})", "{{instance}}"),),
                ),
            ),
        ),
        Row(
            "Brokers and saved work",
            (
                Panel(
                    "Commits",
                    "Offsets are committed twice a second while there is something to commit. Those that "
                    "fail are repeated.",
                    PER_SECOND,
                    (Query("sum by (outcome) (rate(shelver_commits_total{@}[~]))", "{{outcome}}"),),
                    alert="ShelverCommitsFail",
                ),
                Panel(
                    "Repeated attempts",
                    "By step: inference that ran out of memory, listings that could not be read again.",
                    PER_SECOND,
                    (Query("sum by (stage) (rate(shelver_retries_total{@}[~]))", "{{stage}}"),),
                ),
                Panel(
                    "Pictures not fetched again",
                    "Share of pictures asked for by address that were kept or shared with another listing.",
                    SHARE,
                    (
                        Query(
                            ratio(
                                'sum(rate(shelver_image_lookups_total{@, outcome!="miss"}[~]))',
                                "sum(rate(shelver_image_lookups_total{@}[~]))",
                            ),
                            "kept or shared",
                        ),
                    ),
                    maximum=1.0,
                ),
                Panel(
                    "Texts and pictures not computed again",
                    "Share that the model has seen before, or that another of the batch has too.",
                    SHARE,
                    (
                        Query(
                            ratio(
                                "sum by (modality) "
                                '(rate(shelver_evidence_lookups_total{@, outcome!="miss"}[~]))',
                                "sum by (modality) (rate(shelver_evidence_lookups_total{@}[~]))",
                            ),
                            "{{modality}}",
                        ),
                    ),
                    maximum=1.0,
                ),
            ),
        ),
    ),
)
