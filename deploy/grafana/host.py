"""What workers take of their machines."""

from deploy.grafana.panels import (
    BYTES,
    NUMBER,
    PER_SECOND,
    SECONDS,
    SHARE,
    Dashboard,
    Panel,
    Query,
    Row,
    number,
)

HOST = Dashboard(
    "shelver-host",
    "Shelver / GPU and host",
    "Memory, CPU and GPU of the workers, and what runs.",
    (
        Row(
            "Now",
            (
                number(
                    "CPU",
                    "sum(rate(process_cpu_seconds_total{@}[~]))",
                    NUMBER,
                    "Cores that all workers together keep busy.",
                ),
                number(
                    "Largest worker",
                    "max(process_resident_memory_bytes{@})",
                    BYTES,
                    "Memory that is resident, of the worker that has most; README says what bounds it.",
                    limits=(2.2e9, 2.5e9),
                    alert="ShelverWorkerRestarts",
                ),
                number(
                    "GPU",
                    "max(shelver_gpu_utilisation_ratio{@})",
                    SHARE,
                    "Share of the time in which the busiest GPU computed; 0 where models are on CPUs.",
                ),
                number(
                    "Youngest worker",
                    "min(time() - process_start_time_seconds{@})",
                    SECONDS,
                    "Time since a worker was started last.",
                    alert="ShelverWorkerRestarts",
                ),
            ),
        ),
        Row(
            "GPU",
            (
                Panel(
                    "Memory of the GPU",
                    "In use, by other processes too, and in all; 0 where the model is on a CPU.",
                    BYTES,
                    (
                        Query(
                            "sum by (instance, kind) (shelver_gpu_memory_bytes{@})", "{{instance}} {{kind}}"
                        ),
                    ),
                ),
                Panel(
                    "Utilisation of the GPU",
                    "Share of the time in which it computed. Low under lag: preparing pictures is what "
                    "holds it up.",
                    SHARE,
                    (Query("max by (instance) (shelver_gpu_utilisation_ratio{@})", "{{instance}}"),),
                    maximum=1.0,
                ),
            ),
        ),
        Row(
            "Process",
            (
                Panel(
                    "CPU",
                    "Cores kept busy.",
                    NUMBER,
                    (Query("sum by (instance) (rate(process_cpu_seconds_total{@}[~]))", "{{instance}}"),),
                    alert="ShelverLagGrowing",
                ),
                Panel(
                    "Resident memory",
                    "It is bounded whatever waits; README says by which settings.",
                    BYTES,
                    (Query("sum by (instance) (process_resident_memory_bytes{@})", "{{instance}}"),),
                    limits=(2.2e9, 2.5e9),
                    alert="ShelverWorkerRestarts",
                ),
                Panel(
                    "Open files",
                    "Connections to brokers and picture servers are files too.",
                    NUMBER,
                    (Query("sum by (instance) (process_open_fds{@})", "{{instance}}"),),
                ),
                Panel(
                    "Garbage collections",
                    "Of Python, by generation.",
                    PER_SECOND,
                    (
                        Query(
                            "sum by (generation) (rate(python_gc_collections_total{@}[~]))",
                            "generation {{generation}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "What runs",
            (
                Panel(
                    "Releases",
                    "Workers by release and Python.",
                    NUMBER,
                    (
                        Query(
                            "count by (version, python) (shelver_build_info{@})",
                            "{{version}}, Python {{python}}",
                        ),
                    ),
                    is_stacked=True,
                ),
                Panel(
                    "Uptime",
                    "A line that falls is a worker that was started again.",
                    SECONDS,
                    (Query("max by (instance) (time() - process_start_time_seconds{@})", "{{instance}}"),),
                    alert="ShelverWorkerRestarts",
                ),
                Panel(
                    "Age of the model",
                    "Since the version that scores was loaded.",
                    SECONDS,
                    (
                        Query(
                            "max by (instance) (time() - shelver_model_loaded_timestamp_seconds{@})",
                            "{{instance}}",
                        ),
                    ),
                    alert="ShelverModelRefused",
                ),
            ),
        ),
    ),
)
