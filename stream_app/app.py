"""The wiring of the service, and the Faust app that `faust -A stream_app.app worker` runs.

Nothing is decided here. Faust needs a module-level ``app``; only the worker command imports this module
besides.
"""

from stream_app.agents import declare_agent
from stream_app.brokers import connection
from stream_app.fetching import NoTables, WholeFetchApp, faust_credentials
from stream_app.service import Service
from stream_app.settings import Settings, load_settings

MAX_POLL_RECORDS = 4_096


def build_app(settings: Settings) -> WholeFetchApp:
    """Wire a worker that is not started yet; several can be built in one process.

    Raises:
        SettingsError: a file with a credential cannot be used.
    """
    brokers = connection(settings)
    app = WholeFetchApp(
        settings.group,
        broker=[f"kafka://{server}" for server in brokers["bootstrap_servers"]],
        broker_credentials=faust_credentials(brokers),
        store="memory://",
        TableManager=NoTables,
        stream_wait_empty=True,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 5,
        broker_request_timeout=max(20.0, settings.session_timeout_seconds),
        broker_rebalance_timeout=settings.rebalance_seconds,
        broker_commit_interval=settings.commit_interval_seconds,
        consumer_max_fetch_size=settings.max_fetch_bytes,
        # Of tiny records a fetch holds millions, each an object of half a kilobyte.
        broker_max_poll_records=MAX_POLL_RECORDS,
        # A topic, or more partitions of one, is seen within this time.
        consumer_metadata_max_age_ms=5_000,
        # With standby replicas Faust's own assignor leaves some workers without partitions; 0 is round robin.
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    service = Service(settings, app, brokers)
    declare_agent(app, settings.product_listed_topic, name="listings", add=service.add)
    declare_agent(app, settings.explanation_requested_topic, name="explanations", add=service.add)
    declare_agent(app, settings.category_corrected_topic, name="corrections", add=service.add)
    return app


def __getattr__(name: str) -> WholeFetchApp:
    if name == "app":
        built = globals()["app"] = build_app(load_settings())
        return built
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
