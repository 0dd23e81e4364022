"""`shelver demo`: the whole service on this machine, from an empty folder to categories, one explained."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_app.commands.finite import finite
from stream_app.commands.repository_options import DEFAULT_ROOT, Cache, Root, open_repository
from stream_app.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console

    from models.repository import ModelLocation
    from schemas.explanations import CategoryExplained
    from schemas.products import ProductListed
    from stream_app.broker import EmbeddedBroker
    from stream_app.event_tally import TallySummary
    from stream_app.service_process import ServiceProcess

MODEL = "demo"
CHAMPION = "champion"
NUM_TRAINING_PRODUCTS = 600
TRAINING_SEED = 1
MAX_PRODUCTS = 2_000
"""Products drawn for one run; with more events they are listed again."""

Places = Mapping[str, str | Path | None]
"""Where models are, by the names of the settings."""

BROKER_TIMESTAMPS = {"log.message.timestamp.type": "LogAppendTime"}


def demo(
    *,
    events: Annotated[int, typer.Option(min=1, max=1_000_000, help="Listings to publish.")] = 200,
    rate: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="Listings published a second.")
    ] = 25.0,
    seed: Annotated[
        int, typer.Option(min=0, help="Which products are drawn; the same for the same seed.")
    ] = 2,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave Kafka and the worker running afterwards, until Ctrl-C.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--console", help="With --keep: serve the gateway and the web page as well.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object, the last line of output.")
    ] = False,
    model_repository: Root = DEFAULT_ROOT,
    model_cache: Cache = None,
) -> None:
    """Show everything on this machine: Kafka, a small model, a worker, events in, categories out.

    Starts a real Kafka, trains a small model on drawn products unless the repository has one (a minute,
    once), starts a worker, publishes listings with pictures and shows the categories as they come. Nothing
    keeps running afterwards, however it ends; only the model stays, in the repository.

    Exit code 0 means that every listing came out, and one was explained.

    Raises:
        SettingsError: `--console` without `--keep`.
        ShelverError: a part cannot be started, or ended early.
    """
    from rich.console import Console

    if web and not keep:
        raise SettingsError("--console goes with --keep: without it nothing stays to look at")
    console = Console(stderr=True)
    with _cleaned_up() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shelver-demo-")))
        broker = stack.enter_context(_kafka(folder / "kafka"))
        console.print(f"Kafka runs on {broker.bootstrap}", highlight=False)
        repository = model_repository if "://" in model_repository else str(Path(model_repository).absolute())
        model = trained_model(repository, model_cache, folder, console)
        listings = _draw_listings(folder / "products", events, seed)
        console.print(f"Starting a worker with the model {model} ...", highlight=False)
        places = {"model_repository": repository, "model_cache": model_cache}
        serves = _alias_or_version(repository, model_cache, model) if web else str(model)
        worker = stack.enter_context(_worker(broker, serves, folder, places))
        console.print(f"The worker is ready; its metrics are at {worker.url}/metrics", highlight=False)
        services = [worker]
        if web:
            services += _web(stack, broker, serves, folder, places)
            console.print(f"The web page is at {services[-1].url}", highlight=False)
        summary = _run(broker, worker, listings, rate, console)
        explained = _explain_one(broker, listings, console)
        _report(summary, explained, model=str(model), metrics=f"{worker.url}/metrics", as_json=as_json)
        if keep:
            _stay(broker, services, console)
    if summary.lost or explained is None:
        raise typer.Exit(1)


@contextmanager
def _cleaned_up() -> Iterator[ExitStack]:
    """Give a stack that is unwound whatever happens: SIGTERM acts like Ctrl-C, and neither cuts it short.

    Once a signal or an error ends the command, further signals stay ignored: the process is on its way out.
    """
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # A shell's background job is started with SIGINT ignored, and Python leaves that as it is.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with ExitStack() as stack:
        try:
            yield stack
        finally:
            for number in old:
                signal.signal(number, signal.SIG_IGN)
    for number, handler in old.items():
        signal.signal(number, handler)


@contextmanager
def _kafka(folder: Path) -> Iterator[EmbeddedBroker]:
    from stream_app.broker import EmbeddedBroker
    from stream_app.commands.broker import download_bar

    with (
        download_bar() as on_progress,
        EmbeddedBroker(folder, properties=BROKER_TIMESTAMPS, on_progress=on_progress) as broker,
    ):
        yield broker


def trained_model(repository: str, cache: Path | None, folder: Path, console: Console) -> ModelLocation:
    """Return the newest version of the demo's model; train the first one where there is none."""
    models = open_repository(repository, cache)
    if not models.versions(MODEL):
        console.print(
            "Training a small model on drawn products; the next demo will find it ...", highlight=False
        )
        _train(repository, cache, folder / "catalogue")
    return models.outline(MODEL)


def _train(repository: str, cache: Path | None, catalogue: Path) -> None:
    from training.run import compose_config, train
    from training.samples import write_sample_catalogue

    write_sample_catalogue(catalogue, NUM_TRAINING_PRODUCTS, TRAINING_SEED)
    config = compose_config(["experiment=demo", f"name={MODEL}"])
    config.data.root, config.repository = str(catalogue), repository
    config.model_cache = None if cache is None else str(cache)
    train(config)


def _draw_listings(folder: Path, num_events: int, seed: int) -> list[ProductListed]:
    from schemas.catalogue import read_catalogue
    from training.samples import write_sample_catalogue

    write_sample_catalogue(folder, min(num_events, MAX_PRODUCTS), seed)
    rows = itertools.cycle(list(read_catalogue(folder)))
    return [row.to_listing(f"demo-{number}") for number, row in zip(range(num_events), rows, strict=False)]


def _alias_or_version(repository: str, cache: Path | None, model: ModelLocation) -> str:
    """What is served where somebody may promote another version: the champion, if there is one."""
    aliases = open_repository(repository, cache).aliases(MODEL)
    return f"{MODEL}@{CHAMPION}" if CHAMPION in aliases else str(model)


def _worker(broker: EmbeddedBroker, model: str, folder: Path, places: Places) -> ServiceProcess:
    from stream_app.service_process import ServiceProcess

    settings = {"broker": broker.url, "model": model, **_told(places)}
    return ServiceProcess("worker", settings, port_setting="metrics_port", log_file=folder / "worker.log")


def _web(
    stack: ExitStack, broker: EmbeddedBroker, model: str, folder: Path, places: Places
) -> list[ServiceProcess]:
    """The gateway, and the console that asks it; both know the products that were drawn as a catalogue."""
    from stream_app.service_process import ServiceProcess

    catalogues = json.dumps({"drawn products": str(folder / "products")})
    settings: dict[str, Any] = {
        "broker": broker.url,
        "model": model,
        "gateway_catalogues": catalogues,
        "gateway_training_dir": folder / "trainings",
        **_told(places),
    }
    gateway = stack.enter_context(
        ServiceProcess("gateway", settings, port_setting="gateway_port", log_file=folder / "gateway.log")
    )
    asks = {"console_gateway_url": gateway.url, "console_catalogues": catalogues}
    console = stack.enter_context(
        ServiceProcess(
            "console",
            asks,
            port_setting="console_port",
            ready_path="/_stcore/health",
            log_file=folder / "console.log",
        )
    )
    return [gateway, console]


def _told(places: Places) -> dict[str, str | Path]:
    return {name: place for name, place in places.items() if place is not None}


def _run(
    broker: EmbeddedBroker,
    worker: ServiceProcess,
    listings: Sequence[ProductListed],
    rate: float,
    console: Console,
) -> TallySummary:
    from rich.live import Live

    from stream_app.demo_table import AnswerTable
    from stream_app.demonstration import Pace, run_events
    from stream_app.topics import TopicSettings

    table = AnswerTable(len(listings))
    live = Live(table, console=console, refresh_per_second=8) if console.is_terminal else nullcontext()
    with live:
        tally = asyncio.run(
            run_events(
                broker.bootstrap,
                TopicSettings(),
                listings,
                pace=Pace(rate),
                on_answer=table.add,
                check=worker.check,
            )
        )
    return tally.summary()


def _explain_one(
    broker: EmbeddedBroker, listings: Sequence[ProductListed], console: Console
) -> CategoryExplained | None:
    """Ask the worker why one of the products got its category, and show the answer."""
    from stream_app.demonstration import explain_event
    from stream_app.explanation_table import explanation_lines
    from stream_app.topics import TopicSettings

    whole = (each for each in listings if each.image is not None and each.description)
    listing = next(whole, listings[0])
    answer = asyncio.run(explain_event(broker.bootstrap, TopicSettings(), listing.event_id))
    if answer is None:
        console.print("The request to explain one of them was not answered.", highlight=False)
        return None
    console.print(f"Why one of them is where it is ({listing.event_id}):", highlight=False)
    for line in explanation_lines(answer, None, (listing.title, listing.description or "")):
        console.print(line)
    return answer


def _report(
    summary: TallySummary, explained: CategoryExplained | None, *, model: str, metrics: str, as_json: bool
) -> None:
    from rich.console import Console

    from stream_app.demo_table import summary_table

    Console(stderr=as_json).print(summary_table(summary, model=model, metrics=metrics))
    if as_json:
        rounded = {name: round(value, 3) for name, value in asdict(summary).items()}
        explanation = None if explained is None else explained.model_dump(mode="json")
        print(json.dumps({**rounded, "model": model, "explanation": explanation}), flush=True)


def _stay(broker: EmbeddedBroker, services: Sequence[ServiceProcess], console: Console) -> None:
    """Wait for Ctrl-C; the worker comes first, then gateway and console, if there are any."""
    addresses = [f"SHELVER_BROKER={broker.url}", f"metrics at {services[0].url}/metrics"]
    names = ("the gateway", "the web page")
    addresses += [f"{name} at {each.url}" for name, each in zip(names, services[1:], strict=False)]
    try:
        told = "".join(f"\n  {address}" for address in addresses)
        console.print(f"Still running until Ctrl-C:{told}", highlight=False, soft_wrap=True)
        while True:
            for service in services:
                service.check()
            broker.wait(1.0)
    except KeyboardInterrupt:
        console.print("Stopping.")
