"""*Test set*: rows of a catalogue, one or all of them predicted, and compared with what they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import uuid4

import streamlit as st

from schemas.catalogue_rows import CatalogueRow
from schemas.errors import CatalogueError, MessageError
from stream_app.console import session
from stream_app.console.answers import Limits, ProductAnswer
from stream_app.console.client import GatewayError
from stream_app.console.pictures import inline_bytes, thumbnail
from stream_app.console.predicting import COLUMNS, Prediction, read_rows, read_upload
from stream_app.console.problems import asked, attempt, show_error, show_problem, show_refusal
from stream_app.console.results import category_name, show_category
from stream_app.console.scoring import SetScores, score
from stream_app.console.text import plain

__all__ = ["page"]

UPLOAD: Final = "A file of mine"
KINDS: Final = ["csv", "tsv", "jsonl", "ndjson"]
PREVIEW_ROWS: Final = 200
PREVIEW_CHARACTERS: Final = 120
TICK_SECONDS: Final = 0.2
CONFUSION_PX: Final = 160
CONFUSION_ROW_PX: Final = 24

_TEST_SET: Final = "test_set"
_NAMES: Final = {"labelLimit": 240}
"""Of an axis: as many pixels for the name of a category."""


@dataclass(slots=True)
class _TestSet:
    """The rows a visitor works on, and how far they are."""

    source: str
    rows: list[CatalogueRow]
    single: tuple[int, ProductAnswer] | None = None
    prediction: Prediction | None = None
    is_running: bool = False
    stopped_by: GatewayError | None = None
    send_after: float = 0.0


def page() -> None:
    """Draw the page."""
    st.title("Test set")
    limits = asked(session.limits)
    catalogues = session.settings().console_catalogues
    chosen = st.radio("Rows of", [UPLOAD, *catalogues], key="set_source", horizontal=True)
    test_set = _uploaded(limits) if chosen == UPLOAD else _picked(chosen, Path(catalogues[chosen]))
    if test_set is None:
        return
    if not test_set.rows:
        st.warning("It has no rows. Choose another one.")
        return
    _preview(test_set.rows)
    one, every = st.tabs(["One row", "All rows"])
    with one:
        _predict_one(test_set, limits)
    with every:
        _predict_all(test_set)


def _uploaded(limits: Limits) -> _TestSet | None:
    limit = session.upload_limit_mib(limits.max_picture_bytes)
    upload = st.file_uploader(
        f"CSV, TSV or JSON lines, at most {limit} MB",
        type=KINDS,
        max_upload_size=limit,
        key="set_upload",
        help="With the columns product_id and title, and maybe description, image (an address) and category;"
        " or as the Rakuten challenge has them: productid, designation, description, prdtypecode.",
    )
    if upload is None:
        st.info("Upload a file, or pick a catalogue if the operator has named some.")
        return None
    known = _known(upload.file_id)
    if known is not None:
        return known
    most = session.settings().console_max_rows
    return _taken(upload.file_id, lambda: read_upload(upload.name, upload.getvalue(), most))


def _picked(name: str, path: Path) -> _TestSet | None:
    source = f"catalogue:{name}"
    most = session.settings().console_max_rows
    return _known(source) or _taken(source, lambda: read_rows(path, most))


def _known(source: str) -> _TestSet | None:
    known: _TestSet | None = st.session_state.get(_TEST_SET)
    return known if known is not None and known.source == source else None


def _taken(source: str, read: Callable[[], list[CatalogueRow]]) -> _TestSet | None:
    try:
        rows = read()
    except CatalogueError as error:
        st.error("Mend what is named below, or choose another one.", title="The rows cannot be read")
        plain(str(error))
        return None
    test_set = _TestSet(source, rows)
    st.session_state[_TEST_SET] = test_set
    return test_set


def _preview(rows: list[CatalogueRow]) -> None:
    most = session.settings().console_max_rows
    about = f"The first {most:,} rows; there may be more." if len(rows) >= most else f"{len(rows):,} rows."
    labelled = sum(row.category is not None for row in rows)
    st.caption(
        f"{about} {labelled:,} of them have a category, {sum(row.has_picture for row in rows):,} a picture."
    )
    with st.expander("The rows", icon=":material/table_rows:"):
        st.dataframe(
            [
                {
                    "Row": number,
                    "Product": row.product_id,
                    "Title": row.title[:PREVIEW_CHARACTERS],
                    "Category": row.category or "",
                    "Picture": row.has_picture,
                }
                for number, row in enumerate(rows[:PREVIEW_ROWS], 1)
            ],
            hide_index=True,
            alt="The first rows of the test set",
        )


def _predict_one(test_set: _TestSet, limits: Limits) -> None:
    rows = test_set.rows
    with st.form("one_row"):
        number = st.number_input(f"Row, 1 to {len(rows)}", 1, len(rows), 1, key="set_row")
        wanted = st.form_submit_button("Predict this row", type="primary")
    what = f"row of {test_set.source}"
    if wanted:
        test_set.single = None
        try:
            listing = rows[int(number) - 1].to_listing(str(uuid4()))
        except (CatalogueError, MessageError) as error:
            st.error("Mend the row, or choose another one.", title="The row cannot be sent")
            plain(str(error))
            return
        gateway = session.gateway()
        with attempt(what), st.spinner("Waiting for a worker ..."):
            (answer,) = gateway.send_all([listing], wait_seconds=limits.deadline_seconds)
            test_set.single = (int(number) - 1, answer)
    show_refusal(what)
    if test_set.single is not None:
        _show_one(rows[test_set.single[0]], test_set.single[1])


def _show_one(row: CatalogueRow, answer: ProductAnswer) -> None:
    left, right = st.columns([1, 2], gap="large")
    with left:
        content = _picture(row)
        small = None if content is None else thumbnail(content)
        if small is not None:
            st.image(small, alt="The picture of the row")
        plain(row.title or "no title")
        if row.description:
            with st.expander("Description"):
                plain(row.description)
        if row.category is not None:
            plain(f"Its category is {row.category}.", is_small=True)
    with right:
        if answer.assigned is not None:
            show_category(answer.assigned)
        elif answer.problem is not None:
            show_problem(answer.problem)
        else:
            st.warning(
                "Check that `shelver worker` runs, then predict it again.", title="No worker has answered"
            )


def _picture(row: CatalogueRow) -> bytes | None:
    if row.image_path is not None:
        try:
            return row.image_path.read_bytes()
        except OSError:
            return None
    return inline_bytes(row.image)


def _predict_all(test_set: _TestSet) -> None:
    with st.form("all_rows", border=False):
        num = st.number_input("How many rows, from the first", 1, len(test_set.rows), len(test_set.rows))
        wanted = st.form_submit_button("Predict them all", type="primary", disabled=test_set.is_running)
    if wanted and not test_set.is_running:
        test_set.prediction = Prediction(test_set.rows[: int(num)])
        _start(test_set, test_set.prediction)
    if test_set.prediction is None:
        st.info("They go through the gateway in pieces; you may stop at any time and keep what has come.")
        return
    st.fragment(_go_on, run_every=TICK_SECONDS if test_set.is_running else None)(
        test_set, test_set.prediction
    )
    if not test_set.is_running:
        _show_results(test_set.prediction)


def _start(test_set: _TestSet, prediction: Prediction) -> None:
    prediction.go_on()
    test_set.stopped_by = None
    test_set.is_running = True


def _go_on(test_set: _TestSet, prediction: Prediction) -> None:
    """Draw the bar and send the next piece; while it runs, this is done again and again."""
    progress = prediction.progress
    done = progress.total - progress.left
    st.progress(done / progress.total, text=f"{done:,} of {progress.total:,} rows")
    plain(f"{progress.assigned:,} have a category, {progress.failed:,} cannot be classified.", is_small=True)
    if not test_set.is_running:
        _offer_to_go_on(test_set, prediction)
        return
    if st.button("Stop", icon=":material/stop:"):
        test_set.is_running = False
        st.rerun()
    _send_next(test_set, prediction)
    if not test_set.is_running:
        st.rerun()


def _offer_to_go_on(test_set: _TestSet, prediction: Prediction) -> None:
    if test_set.stopped_by is not None:
        show_error(test_set.stopped_by)
    elif prediction.is_stalled:
        st.warning(
            "The rows are in Kafka. Check that `shelver worker` runs, then go on.",
            title="No worker has answered for a while",
        )
    if prediction.progress.left and st.button("Go on", icon=":material/play_arrow:"):
        _start(test_set, prediction)
        st.rerun()


def _send_next(test_set: _TestSet, prediction: Prediction) -> None:
    """Send a piece and take in what came of it, without a stop in between that would lose it."""
    if time.monotonic() < test_set.send_after:
        return
    gateway = session.gateway()
    try:
        limits = session.limits()
        chunk = prediction.next_chunk(limits)
        if chunk:
            answers = gateway.send_all(list(chunk.values()), wait_seconds=limits.deadline_seconds)
            prediction.take(chunk, answers)
    except GatewayError as error:
        if error.kind == "too-many-requests":
            test_set.send_after = time.monotonic() + (error.retry_seconds or 1.0)
            return
        test_set.stopped_by, test_set.is_running = error, False
        return
    if prediction.is_stalled or not prediction.progress.left:
        test_set.is_running = False


def _show_results(prediction: Prediction) -> None:
    if not prediction.progress.assigned and not prediction.progress.failed:
        return
    st.download_button(
        "Download the results",
        prediction.csv(),
        "predictions.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
    with st.expander("The results", icon=":material/table_rows:"):
        st.dataframe(
            [dict(zip(COLUMNS, line, strict=True)) for line in islice(prediction.table(), PREVIEW_ROWS)],
            hide_index=True,
            alt="The first results",
        )
    try:
        scores = score(prediction.rows, prediction.outcomes, session.categories())
    except GatewayError as error:
        show_error(error)
        return
    if scores is None:
        st.info("None of these rows has a category to compare with; add a column `category` for scores.")
        return
    _show_scores(scores)


def _show_scores(scores: SetScores) -> None:
    st.subheader("How well they agree", anchor=False)
    weighted, macro, accuracy, rows = st.columns(4)
    weighted.metric("Weighted F1", f"{scores.weighted_f1:.3f}")
    macro.metric("Macro F1", f"{scores.macro_f1:.3f}")
    accuracy.metric("Accuracy", f"{scores.accuracy:.1%}")
    rows.metric("Rows compared", f"{scores.rows:,}")
    num_categories = len({true for true, _, _ in scores.confusion})
    st.vega_lite_chart(
        [{"true": true, "predicted": predicted, "rows": num} for true, predicted, num in scores.confusion],
        {
            "encoding": {
                "y": {"field": "true", "type": "nominal", "title": "Is", "axis": _NAMES},
                "x": {"field": "predicted", "type": "nominal", "title": "Predicted", "axis": _NAMES},
                "tooltip": [{"field": name} for name in ("true", "predicted", "rows")],
            },
            "layer": [
                {
                    "mark": "rect",
                    "encoding": {
                        "color": {"field": "rows", "type": "quantitative", "scale": {"scheme": "oranges"}}
                    },
                },
                {"mark": {"type": "text", "color": "black"}, "encoding": {"text": {"field": "rows"}}},
            ],
        },
        height=CONFUSION_PX + CONFUSION_ROW_PX * num_categories,
        alt="Confusion matrix: rows by what they are and what was predicted",
    )
    st.dataframe(
        [
            {
                "Category": category_name(each.code, each.label),
                "Precision": each.precision,
                "Recall": each.recall,
                "F1": each.f1,
                "Rows": each.support,
            }
            for each in scores.per_category
        ],
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.3f") for name in ("Precision", "Recall", "F1")
        },
        alt="Scores of each category",
    )
