"""What is drawn: hostile text as text, and advice for every problem."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from models.image.formats import open_container
from schemas.products import ImageReference
from stream_app.broker_config import free_port
from stream_app.console import problems, session
from stream_app.console.pictures import blank, inline_bytes, thumbnail
from stream_app.console.settings import ConsoleSettings
from tests.pictures import gif, plain, png, png_header, saved, with_exif

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</p></div><style>*{display:none}</style>",
    "**bold** $x^2$ :red[red] [a](javascript:alert(1))",
    "\0\x1b[31m\u202egnirts",
]


class Texts(HTMLParser):
    """The elements of a piece of HTML, and the text in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - as the parser calls it
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def drawn(body: str) -> str:
    app = AppTest.from_string(f"from stream_app.console.text import plain\nplain({body!r})").run()
    assert not app.exception
    (element,) = app.get("html")
    return str(element.proto.body)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text: str) -> None:
    read = Texts(drawn(text))
    assert read.tags == ["p"]
    assert read.text == text


def test_a_long_text_is_cut() -> None:
    assert len(drawn("x" * 1_000_000)) < 10_000


@pytest.mark.parametrize("path", ["try_product", "live", "test_set", "models"])
def test_without_a_gateway_a_page_says_what_to_do(path: str) -> None:
    script = f"from stream_app.console.views import {path}\n{path}.page()"
    url = f"http://127.0.0.1:{free_port()}"
    with session.configured(ConsoleSettings(console_gateway_url=url)):
        app = AppTest.from_string(script).run()
    assert not app.exception
    assert "shelver gateway" in app.error[0].value
    assert url in app.error[0].value


def test_every_kind_of_problem_that_the_gateway_has_is_explained() -> None:
    kinds = {"invalid", "too-large", "unauthorized", "forbidden", "conflict", "not-found", "unavailable"}
    kinds |= {"blocked-address", "dead-letter", "too-many-requests", "unsupported-media-type"}
    assert kinds <= set(problems._ADVICE)


@given(content=st.binary(max_size=300))
def test_whatever_the_bytes_are_a_thumbnail_is_small_or_none(content: bytes) -> None:
    for data in (content, saved(plain(), "JPEG")[:200] + content):
        small = thumbnail(data, 32)
        assert small is None or open_container(small).width <= 32


def test_thumbnails_are_upright_and_in_proportion() -> None:
    wide = saved(plain(size=(400, 100)))
    small = thumbnail(wide, 80)
    assert small is not None
    assert (open_container(small).width, open_container(small).height) == (80, 20)
    turned = thumbnail(with_exif("JPEG", 6, plain(size=(400, 100))), 80)
    assert turned is not None
    assert (open_container(turned).width, open_container(turned).height) == (20, 80)


def test_bombs_are_not_shown() -> None:
    assert thumbnail(png(png_header(60_000, 60_000), pixels=b"")) is None
    assert thumbnail(gif(1)) is not None


def test_what_stands_for_a_picture_has_its_proportions() -> None:
    grey = open_container(blank(100, 50))
    assert (grey.width, grey.height) == (640, 320)


def test_only_pictures_in_the_message_are_shown() -> None:
    assert inline_bytes(None) is None
    assert inline_bytes(ImageReference(url="https://shop.example/a.jpg")) is None
    assert inline_bytes(ImageReference(data="%%%")) is None
    assert inline_bytes(ImageReference(data="AAAA")) == b"\0\0\0"
