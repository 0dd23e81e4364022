"""*Try a product*: its category, why, and a way to say that it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import uuid4

import streamlit as st

from schemas.assignments import AssignedCategory, CategoryAssigned, ImageUse
from schemas.base import CategoryCode
from schemas.explanations import CategoryExplained
from stream_app.console import session
from stream_app.console.answers import PENDING, Category, ExplanationAnswer, ProductAnswer
from stream_app.console.client import GatewayClient, GatewayError
from stream_app.console.pictures import blank, thumbnail
from stream_app.console.problems import asked, attempt, refusal, show_error, show_refusal
from stream_app.console.results import category_name, show_category
from stream_app.console.text import plain
from stream_app.explanation_markup import STYLE, explanation_markup

__all__ = ["page"]

T = TypeVar("T")

MIN_EVALUATIONS: Final = 50
MAX_EVALUATIONS: Final = 1_000
USUAL_EVALUATIONS: Final = 200
EXACT: Final = "Exact: words and parts of the picture"
PIXELS: Final = "Pixels of the picture, by trying: takes seconds"

_TITLE, _DESCRIPTION, _ADDRESS = "try_title", "try_description", "try_address"
_TRIAL: Final = "trial"


@dataclass(slots=True)
class _Trial:
    """A product that was sent, and what came of it since."""

    event_id: str
    title: str
    description: str
    address: str
    picture: bytes | None
    answer: ProductAnswer
    explanation: ExplanationAnswer | None = None
    corrected_to: str | None = None


def page() -> None:
    """Draw the page."""
    st.title("Try a product")
    limits = asked(session.limits)
    entry, outcome = st.columns(2, gap="large")
    with entry:
        _read_shop_page()
        _enter(limits.max_picture_bytes, limits.deadline_seconds)
    with outcome:
        trial: _Trial | None = st.session_state.get(_TRIAL)
        if trial is None:
            st.info("Fill in a title, a description or a picture, then press *Classify*.")
        else:
            _show(trial, limits.deadline_seconds, limits.max_wait_seconds)


def _read_shop_page() -> None:
    """Fill the form in from the page of a shop, which the gateway reads."""
    with st.expander("Fill in from the page of a shop", icon=":material/storefront:"):
        with st.form("shop_page", border=False):
            url = st.text_input("Address of the product's page", placeholder="https://", key="try_shop")
            wanted = st.form_submit_button("Read the page")
        if not wanted:
            show_refusal("shop page")
        elif not url.strip():
            st.warning("Copy the address of the product's page into the field first.")
        else:
            _fill_in(url.strip())


def _fill_in(url: str) -> None:
    gateway = session.gateway()
    with attempt("shop page"), st.spinner("The gateway reads the page ..."):
        found = gateway.shop_page(url)
        st.session_state[_TITLE] = found.title
        st.session_state[_DESCRIPTION] = found.description or ""
        st.session_state[_ADDRESS] = next(iter(found.image_urls), "")
        st.success("Read; look it over below, then press *Classify*.")
    show_refusal("shop page")


def _enter(max_picture_bytes: int, deadline_seconds: float) -> None:
    limit = session.upload_limit_mib(max_picture_bytes)
    with st.form("product"):
        title = st.text_input("Title", key=_TITLE, max_chars=1_000)
        description = st.text_area("Description", key=_DESCRIPTION, max_chars=50_000, height=140)
        upload = st.file_uploader(
            f"Picture: JPEG, PNG, GIF, WebP or BMP, at most {limit} MB",
            max_upload_size=limit,
            key="try_upload",
        )
        address = st.text_input("or the address of a picture", placeholder="https://", key=_ADDRESS)
        wanted = st.form_submit_button("Classify", type="primary")
    if not wanted:
        show_refusal("product")
    elif upload is not None and address.strip():
        st.warning("Give either a picture or its address: take the file out, or empty the field.")
    elif upload is None and not (title.strip() or description.strip() or address.strip()):
        st.warning("There is nothing to classify: fill in a title, a description or a picture.")
    else:
        content = None if upload is None else upload.getvalue()
        _send(title, description, address.strip(), content, deadline_seconds)


def _send(title: str, description: str, address: str, content: bytes | None, deadline_seconds: float) -> None:
    """Send a product; what comes of it is kept, even if the page is drawn anew before it has come."""
    event_id = str(uuid4())
    fields = {"event_id": event_id, "product_id": f"console-{event_id}", "title": title}
    if description:
        fields["description"] = description
    if address:
        fields["image_url"] = address
    picture = None if content is None else thumbnail(content)
    pending = ProductAnswer(event_id=event_id, status=PENDING)
    trial = _Trial(event_id, title, description, address, picture, pending)
    st.session_state[_TRIAL] = trial
    gateway = session.gateway()
    with attempt("product"), st.spinner("Waiting for a worker ..."):
        trial.answer = gateway.send(fields, picture=content, wait_seconds=deadline_seconds)
    if refusal("product") is not None:
        del st.session_state[_TRIAL]
        show_refusal("product")


def _show(trial: _Trial, deadline_seconds: float, max_wait_seconds: float) -> None:
    if trial.answer.assigned is None:
        _show_pending(trial, deadline_seconds)
        return
    assigned = trial.answer.assigned
    show_category(assigned)
    if trial.picture is not None:
        st.image(trial.picture, alt="The picture that was sent", width=220)
    elif trial.address:
        plain(f"Picture: {trial.address}")
    _explain(trial, assigned, max_wait_seconds)
    _correct(trial, assigned)


def _show_pending(trial: _Trial, deadline_seconds: float) -> None:
    st.warning(
        f"The product is in Kafka, and no worker has answered within {deadline_seconds:g} s. Check that"
        " `shelver worker` runs; nothing is lost in the meantime.",
        title="No category yet",
    )
    again = _asked_again(
        f"again_{trial.event_id}",
        lambda gateway: gateway.product(trial.event_id, wait_seconds=deadline_seconds),
    )
    if again is not None:
        trial.answer = again
        st.rerun()


def _asked_again(key: str, ask: Callable[[GatewayClient], T]) -> T | None:
    """What the gateway answers now, where the visitor has pressed the button that asks it."""
    if not st.button("Ask again", key=key):
        return None
    answer = None
    gateway = session.gateway()
    with attempt("again"), st.spinner("Waiting for a worker ..."):
        answer = ask(gateway)
    show_refusal("again")
    return answer


def _explain(trial: _Trial, assigned: CategoryAssigned, max_wait_seconds: float) -> None:
    st.subheader("Why?", anchor=False)
    choices = [assigned.category, *assigned.alternatives]
    has_picture = assigned.modalities.image is ImageUse.USED
    with st.form(f"explain_{trial.event_id}"):
        about = st.selectbox("Category", choices, format_func=_name, key=f"about_{trial.event_id}")
        method = EXACT
        evaluations = USUAL_EVALUATIONS
        if has_picture:
            method = st.radio("How", [EXACT, PIXELS], key=f"method_{trial.event_id}")
            evaluations = st.slider(
                "Evaluations of the pixel method: more are finer, and slower",
                MIN_EVALUATIONS,
                MAX_EVALUATIONS,
                USUAL_EVALUATIONS,
                step=50,
                key=f"evaluations_{trial.event_id}",
            )
        wanted = st.form_submit_button("Explain")
    if wanted:
        _ask(trial, about.code, evaluations if method == PIXELS else None, max_wait_seconds)
    show_refusal(f"explain {trial.event_id}")
    if trial.explanation is not None:
        _show_explanation(trial, trial.explanation, max_wait_seconds)


def _ask(trial: _Trial, category: CategoryCode, max_evaluations: int | None, max_wait_seconds: float) -> None:
    request_id = str(uuid4())
    question = {
        "request_id": request_id,
        "event_id": trial.event_id,
        "categories": [category],
        "max_evaluations": max_evaluations,
    }
    trial.explanation = ExplanationAnswer(request_id=request_id, status=PENDING)
    gateway, what = session.gateway(), f"explain {trial.event_id}"
    with attempt(what), st.spinner("A worker looks into it ..."):
        trial.explanation = gateway.explain(question, wait_seconds=max_wait_seconds)
    if refusal(what) is not None:
        trial.explanation = None


def _show_explanation(trial: _Trial, answer: ExplanationAnswer, max_wait_seconds: float) -> None:
    if answer.explained is None:
        st.warning("No worker has explained it yet.", title="No explanation yet")
        again = _asked_again(
            f"explain_again_{answer.request_id}",
            lambda gateway: gateway.explanation(answer.request_id, wait_seconds=max_wait_seconds),
        )
        if again is not None:
            trial.explanation = again
            st.rerun()
        return
    explained = answer.explained
    markup = explanation_markup(explained, (trial.title, trial.description), _picture(trial, explained))
    st.html(f"<style>{STYLE}</style>{markup}")


def _picture(trial: _Trial, explained: CategoryExplained) -> bytes | None:
    """The picture under the heatmap: what was uploaded, or grey where only its address is known here."""
    if trial.picture is not None:
        return trial.picture
    image = next((each.image for each in explained.explanations if each.image is not None), None)
    return None if image is None else blank(image.width, image.height)


def _correct(trial: _Trial, assigned: CategoryAssigned) -> None:
    st.subheader("Wrong?", anchor=False)
    if trial.corrected_to is not None:
        st.success("Thank you; the correction is in Kafka, and there to train on.")
        plain(f"You said: {trial.corrected_to}")
        return
    try:
        known = session.categories().categories
    except GatewayError as error:
        show_error(error)
        return
    with st.form(f"correct_{trial.event_id}"):
        right = st.selectbox(
            "Say what it is",
            known,
            index=None,
            format_func=_name,
            placeholder="Choose a category",
            key=f"right_{trial.event_id}",
        )
        comment = st.text_input("Comment", max_chars=500, key=f"comment_{trial.event_id}")
        wanted = st.form_submit_button("Send the correction")
    if wanted and right is None:
        st.warning("Choose the category that is right first.")
    elif wanted and right is not None:
        _send_correction(trial, assigned, right, comment)
    show_refusal(f"correct {trial.event_id}")


def _send_correction(trial: _Trial, assigned: CategoryAssigned, right: Category, comment: str) -> None:
    correction = {
        "event_id": trial.event_id,
        "product_id": assigned.product_id,
        "assignment_id": assigned.assignment_id,
        "category": {"code": right.code, "label": right.label},
        "comment": comment or None,
        "corrected_by": "console",
    }
    gateway, what = session.gateway(), f"correct {trial.event_id}"
    with attempt(what):
        gateway.correct(correction)
        trial.corrected_to = _name(right)
    if refusal(what) is None:
        st.rerun()


def _name(category: AssignedCategory | Category) -> str:
    return category_name(category.code, category.label)
