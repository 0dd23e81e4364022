"""*Models*: versions, scores and cards; promotion; training runs as they go."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

from stream_app.console import session
from stream_app.console.answers import RUNNING, Fit, TrainingRun, TrainingRuns, Version, Versions
from stream_app.console.client import GatewayError
from stream_app.console.problems import asked, attempt, refusal, show_error, show_refusal
from stream_app.console.text import plain

__all__ = ["page"]

EVERY_SECONDS: Final = 2.0
ALIASES: Final = ("champion", "challenger")
PICTURE_ALONE: Final = "Picture alone"
KINDS: Final = {
    "Text and picture": {"model": "fusion"},
    "Text alone": {"model": "text"},
    PICTURE_ALONE: {"model": "image"},
    "The demo's: small, for drawn pictures": {"experiment": "demo"},
}
FOLD: Final = "-fold-"
LEFT_OUT: Final = ("step", "epoch")
"""Of a point of a curve: where it is, not how good."""

_PROMOTED, _RUN = "promoted", "training_run"


def page() -> None:
    """Draw the page."""
    st.title("Models")
    versions, training = st.tabs(["Versions", "Training"])
    with versions:
        _versions()
    with training:
        _training()


def _versions() -> None:
    found = asked(lambda: session.remembered("models", session.gateway().models))
    if st.button("Refresh", icon=":material/refresh:", key="models_refresh"):
        session.forget("models")
        st.rerun()
    plain(f"The workers are to serve {found.serving}.", is_small=True)
    if not found.versions:
        st.info("There is no version yet. Start a training beside this, or run `shelver train`.")
        return
    _show_table(found)
    names = [f"{each.name}@{each.version}" for each in found.versions]
    chosen = st.selectbox("Version", names, key="version")
    version = found.versions[names.index(chosen)]
    if version.error is not None:
        st.error("It cannot serve; train it anew, or delete its folder.", title="The version is damaged")
        plain(version.error)
        return
    _promote(version)
    _show_card(version)


def _show_table(found: Versions) -> None:
    st.dataframe(
        [
            {
                "Model": each.name,
                "Version": each.version,
                "Aliases": ", ".join(each.aliases),
                "Weighted F1": each.weighted_f1,
                "Rows held out": each.rows,
                "Written": each.created_at,
                "Damaged": each.error or "",
            }
            for each in found.versions
        ],
        hide_index=True,
        column_config={"Weighted F1": st.column_config.NumberColumn(format="%.4f")},
        alt="Versions with their aliases and scores",
    )


def _promote(version: Version) -> None:
    spec = f"{version.name}@{version.version}"
    with st.form(f"promote_{spec}"):
        alias = st.selectbox("Make this alias mean it", ALIASES, key=f"alias_{spec}")
        force = st.checkbox(
            "Even if it scores worse, or nobody can tell",
            key=f"force_{spec}",
            help="Without it a version that scores worse than the one it would replace is refused.",
        )
        wanted = st.form_submit_button("Promote", type="primary")
    what = f"promote {spec}"
    if wanted:
        st.session_state.pop(_PROMOTED, None)
        gateway = session.gateway()
        with attempt(what), st.spinner("Every byte and the golden scores are checked ..."):
            done = gateway.promote(version.name, alias, version.version, force=force)
            before = f", {done.previous_version} before" if done.previous_version else ""
            st.session_state[_PROMOTED] = (
                f"{done.name}@{done.alias} means version {done.version} now{before}."
            )
        if refusal(what) is None:
            session.forget("models", "categories")
            st.rerun()
    show_refusal(what, title="Not promoted")
    if (error := refusal(what)) is not None and error.kind == "conflict":
        st.info("To promote it all the same, tick the box above.")
    if (promoted := st.session_state.get(_PROMOTED)) is not None:
        st.success("Workers that follow the alias take it over within seconds.", title="Promoted")
        plain(promoted)


def _show_card(version: Version) -> None:
    name = f"version:{version.name}@{version.version}"
    try:
        detail = session.remembered(
            name, lambda: session.gateway().version(version.name, version.version), seconds=600
        )
    except GatewayError as error:
        show_error(error)
        return
    with st.expander("Model card", icon=":material/description:"):
        if detail.card:
            st.markdown(detail.card)
        else:
            st.info("It has none.")
    with st.expander("Everything it says of itself", icon=":material/data_object:"):
        st.json(detail.model_dump(mode="json", exclude={"card"}), expanded=1)


def _training() -> None:
    found = asked(lambda: session.remembered("trainings", session.gateway().trainings, seconds=5))
    serving = asked(lambda: session.remembered("models", session.gateway().models)).serving
    _start(found, serving.partition("@")[0])
    if not found.runs:
        st.info("No training has been started here yet.")
        return
    identifiers = [run.id for run in found.runs]
    if st.session_state.get(_RUN) not in identifiers:
        st.session_state[_RUN] = identifiers[0]
    chosen = st.selectbox("Run", identifiers, key=_RUN)
    is_running = next(run.state for run in found.runs if run.id == chosen) == RUNNING
    st.fragment(_follow, run_every=EVERY_SECONDS if is_running else None)(chosen, is_running)


def _start(found: TrainingRuns, name_of_model: str) -> None:
    if not found.catalogues:
        st.info(
            "To start trainings from here, name catalogues for the gateway:"
            ' `SHELVER_GATEWAY_CATALOGUES=\'{"shop": "/data/shop"}\'`.'
        )
        return
    with (
        st.expander("Start a training", icon=":material/play_arrow:", expanded=not found.runs),
        st.form("train"),
    ):
        catalogue = st.selectbox("Learn from", found.catalogues)
        left, right = st.columns(2)
        kind = left.selectbox("What is trained", tuple(KINDS))
        name = right.text_input("Name of the model", name_of_model, max_chars=64)
        epochs = left.number_input("Passes over the texts", 1, 200, 8)
        limit = right.number_input("Most rows, 0 for all", 0, 10_000_000, 0)
        wanted = st.form_submit_button("Start", type="primary")
    if not wanted:
        show_refusal("training")
        return
    settings: dict[str, Any] = {**KINDS[kind], "name": name.strip()}
    if kind != PICTURE_ALONE:
        settings["text.epochs"] = int(epochs)
    if limit:
        settings["data.limit"] = int(limit)
    gateway = session.gateway()
    with attempt("training"):
        st.session_state[_RUN] = gateway.start_training(catalogue, settings).id
    if refusal("training") is None:
        session.forget("trainings")
        st.rerun()
    show_refusal("training")


def _follow(identifier: str, was_running: bool) -> None:
    """Draw how far a run is; while it runs, this is done again and again."""
    try:
        run = session.gateway().training(identifier)
    except GatewayError as error:
        show_error(error)
        return
    if was_running and run.state != RUNNING:
        session.forget("trainings", "models")
        st.rerun()
    _show_state(run)
    for fit in run.fits:
        if FOLD not in fit.name:
            _show_curves(fit)
    if folds := [fit for fit in run.fits if FOLD in fit.name]:
        with st.expander("Folds that the calibration is found on", icon=":material/stacked_line_chart:"):
            for fit in folds:
                _show_curves(fit)
    if run.state == RUNNING and st.button("Cancel the training", icon=":material/cancel:"):
        _cancel(identifier)
    _show_log(identifier)


def _show_state(run: TrainingRun) -> None:
    told = f"{run.catalogue}, begun {run.started_at:%Y-%m-%d %H:%M:%S} UTC"
    if run.state == RUNNING:
        st.info("It goes on, whether this page is open or not.", title="Running")
    elif run.state == "succeeded":
        st.success("The version is listed under *Versions*; promote it there.", title="Succeeded")
    elif run.state == "failed":
        st.error("Its log below tells more.", title="Failed")
    else:
        st.warning("It has made no version.", title=run.state.capitalize())
    plain(told, is_small=True)
    if run.error:
        plain(run.error)
    if run.result:
        st.json(run.result, expanded=1)


def _show_curves(fit: Fit) -> None:
    """One chart for each kind of number, its lines told apart by the part of the data."""
    plain(f"{fit.name}: pass {fit.epoch}{', done' if fit.done else ''}")
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for point in fit.metrics:
        for name, value in point.items():
            if name in LEFT_OUT or "step" not in point:
                continue
            part, _, kind = name.rpartition("/")
            curves.setdefault(kind, {}).setdefault(part or kind, []).append((point["step"], value))
    charts = st.container(horizontal=True)
    for kind, lines in curves.items():
        with charts.container(width=360):
            st.vega_lite_chart(
                [
                    {"step": step, kind: value, "of": part}
                    for part, line in lines.items()
                    for step, value in line
                ],
                {
                    "mark": {"type": "line", "point": True},
                    "encoding": {
                        "x": {"field": "step", "type": "quantitative"},
                        "y": {"field": kind, "type": "quantitative", "scale": {"zero": False}},
                        "color": {"field": "of", "type": "nominal", "title": None},
                    },
                },
                height=220,
                alt=f"{kind} of {fit.name} by step",
            )


def _cancel(identifier: str) -> None:
    try:
        with st.spinner("It ends in order, within ten seconds ..."):
            session.gateway().cancel_training(identifier)
    except GatewayError as error:
        show_error(error)
        return
    session.forget("trainings")
    st.rerun()


def _show_log(identifier: str) -> None:
    with st.expander("Log", icon=":material/notes:"):
        try:
            log = session.gateway().training_log(identifier)
        except GatewayError as error:
            show_error(error)
            return
        st.code(log or "nothing yet", language=None, wrap_lines=True, height=320)
