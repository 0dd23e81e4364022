"""What is asked by HTTP, and how it is answered."""

from deploy.grafana.panels import (
    BYTES,
    GATEWAYS,
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

REQUESTS = "shelver_gateway_request_seconds"
ASKED = ', route!~"/healthz|/readyz|/metrics"'
"""Without what probes and Prometheus ask."""
PRODUCTS = ', method="POST", route=~"/v1/products|/api/v1/predict/.+"'


def by_route(title: str, quantile: float, description: str) -> Panel:
    """A panel of one quantile of the time of requests."""
    return Panel(
        title,
        description,
        SECONDS,
        quantiles(REQUESTS, quantile, by="route", where=ASKED),
        alert="ShelverGatewayLate",
    )


GATEWAY = Dashboard(
    "shelver-gateway",
    "Shelver / Gateway",
    "What is asked by HTTP, how it is answered, and what gateways hold.",
    (
        Row(
            "Now",
            (
                number(
                    "Gateways",
                    "count(shelver_gateway_connected{@})",
                    NUMBER,
                    "Gateways that answer Prometheus.",
                    alert="ShelverGatewayDown",
                ),
                number(
                    "Without brokers",
                    "sum(1 - shelver_gateway_connected{@})",
                    NUMBER,
                    "Gateways that brokers take no records from; they answer 503.",
                    limits=(1, 1),
                    alert="ShelverGatewayDisconnected",
                ),
                number(
                    "Requests",
                    f"sum(rate(shelver_gateway_requests_total{{@{ASKED}}}[~]))",
                    PER_SECOND,
                    "Requests answered, a second, without health and metrics.",
                ),
                number(
                    "99 % of products within",
                    quantiles(REQUESTS, 0.99, where=PRODUCTS)[0].expression,
                    SECONDS,
                    "99th percentile of the time from a product, or a list of them, to its answer.",
                    alert="ShelverGatewayLate",
                ),
                number(
                    "Answered before the result",
                    ratio(
                        f'sum(rate(shelver_gateway_requests_total{{@{PRODUCTS}, status=~"202|504"}}[~]))',
                        f"sum(rate(shelver_gateway_requests_total{{@{PRODUCTS}}}[~]))",
                    ),
                    SHARE,
                    "Share of requests with products that were answered while the result was still to come "
                    "(202, or 504 on the paths of the original); those that do not wait are among them.",
                    alert="ShelverGatewayLate",
                ),
                number(
                    "Faults",
                    "sum(rate(shelver_gateway_faults_total{@}[~]))",
                    PER_SECOND,
                    "Requests that a fault of the gateway ended, a second; each has a line in the log.",
                    limits=(0.001, 0.1),
                    alert="ShelverGatewayFaults",
                ),
            ),
        ),
        Row(
            "Requests",
            (
                Panel(
                    "By route",
                    "Requests answered, by the template of their route.",
                    PER_SECOND,
                    (
                        Query(
                            f"sum by (route) (rate(shelver_gateway_requests_total{{@{ASKED}}}[~]))",
                            "{{route}}",
                        ),
                    ),
                    is_stacked=True,
                ),
                Panel(
                    "By status",
                    "200 has its result, 202 is to be asked for again, 4xx is the client's affair; 503 is "
                    "no brokers or too much at once, 500 a fault.",
                    PER_SECOND,
                    (
                        Query(
                            f"sum by (status) (rate(shelver_gateway_requests_total{{@{ASKED}}}[~]))",
                            "{{status}}",
                        ),
                    ),
                    is_stacked=True,
                    alert="ShelverGatewayFaults",
                ),
                Panel(
                    "Turned away",
                    "By reason. `rate` and `unavailable` are limits of the gateway, `key` and `role` keys "
                    "that are wrong or may not; `invalid` has the dead letters in it.",
                    PER_SECOND,
                    (Query("sum by (reason) (rate(shelver_gateway_rejections_total{@}[~]))", "{{reason}}"),),
                    is_stacked=True,
                ),
            ),
        ),
        Row(
            "Time to the answer",
            (
                by_route("Half within", 0.5, "Median by route, the wait for the result in it."),
                by_route(
                    "95 % within",
                    0.95,
                    "95th percentile by route. Explanations of pixels take seconds; a line at "
                    "SHELVER_GATEWAY_DEADLINE_SECONDS is results that do not come.",
                ),
                by_route("99 % within", 0.99, "99th percentile by route."),
            ),
        ),
        Row(
            "Kafka, and what is held",
            (
                Panel(
                    "Records",
                    "Sent and confirmed by the brokers, and read from the topics of results: those of all "
                    "producers, so more come than go.",
                    PER_SECOND,
                    (
                        Query("sum(rate(shelver_gateway_records_sent_total{@}[~]))", "sent"),
                        Query("sum(rate(shelver_gateway_results_read_total{@}[~]))", "results read"),
                    ),
                    alert="ShelverGatewayLate",
                ),
                Panel(
                    "Connected",
                    "1 while the brokers take records.",
                    NUMBER,
                    (Query("min by (instance) (shelver_gateway_connected{@})", "{{instance}}"),),
                    maximum=1.0,
                    alert="ShelverGatewayDisconnected",
                ),
                Panel(
                    "Being answered",
                    "Requests at once, bounded by SHELVER_GATEWAY_MAX_REQUESTS, and the results that they "
                    "wait for.",
                    NUMBER,
                    (
                        Query("sum by (instance) (shelver_gateway_requests_in_flight{@})", "{{instance}}"),
                        Query("sum by (instance) (shelver_gateway_waiters{@})", "{{instance}} results"),
                    ),
                ),
                Panel(
                    "Results kept",
                    "At the limit the oldest go: their products are 404 then. Raise "
                    "SHELVER_GATEWAY_RESULTS_BYTES where clients come back later than that.",
                    BYTES,
                    (
                        Query("sum by (instance) (shelver_gateway_results_bytes{@})", "{{instance}}"),
                        Query("max(shelver_gateway_results_limit_bytes{@})", "limit"),
                    ),
                ),
            ),
        ),
        Row(
            "Process",
            (
                Panel(
                    "CPU",
                    "Cores kept busy; one is all that a gateway can use, then another beside it helps.",
                    NUMBER,
                    (Query("sum by (instance) (rate(process_cpu_seconds_total{@}[~]))", "{{instance}}"),),
                    limits=(0.7, 0.9),
                    alert="ShelverGatewayLate",
                ),
                Panel(
                    "Resident memory",
                    "Results, and bodies that are worked on (SHELVER_GATEWAY_MAX_BUFFERED_BYTES).",
                    BYTES,
                    (Query("sum by (instance) (process_resident_memory_bytes{@})", "{{instance}}"),),
                ),
                Panel(
                    "Open files",
                    "Connections of clients and to brokers are files too.",
                    NUMBER,
                    (Query("sum by (instance) (process_open_fds{@})", "{{instance}}"),),
                ),
                Panel(
                    "Uptime",
                    "A line that falls is a gateway that was started again.",
                    SECONDS,
                    (Query("max by (instance) (time() - process_start_time_seconds{@})", "{{instance}}"),),
                    alert="ShelverGatewayDown",
                ),
            ),
        ),
    ),
    GATEWAYS,
)
