"""The text of a page whatever encoding it claims."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.shop_pages.decoding import decode_page

TEXT = "Théière émaillée « œuf » à 12 €"
HTML = "text/html"


def with_meta(encoding: str, text: str = TEXT) -> bytes:
    return f'<html><head><meta charset="{encoding}"><title>{text}</title>'.encode(encoding)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TEXT.encode(), ""),
        (TEXT.encode(), f"{HTML}; charset=utf-8"),
        (TEXT.encode(), f"{HTML}; charset=ISO-8859-1"),
        (TEXT.encode(), f'{HTML}; charset="nonsense"'),
        (TEXT.encode("cp1252"), f"{HTML}; charset=ISO-8859-1"),
        (TEXT.encode("cp1252"), f"{HTML}; charset=utf-8"),
        (TEXT.encode("cp1252"), ""),
        (TEXT.encode("iso-8859-15"), f"{HTML};charset='iso-8859-15'"),
        (codecs.BOM_UTF8 + TEXT.encode(), f"{HTML}; charset=latin1"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), HTML),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), f"{HTML}; charset=utf-8"),
        (TEXT.encode("utf-16-le"), f"{HTML}; charset=utf-16"),
    ],
)
def test_the_text_is_the_same_in_every_encoding(body: bytes, content_type: str) -> None:
    assert decode_page(body, content_type) == TEXT


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252", "iso-8859-15"])
def test_a_page_says_its_encoding_itself(encoding: str) -> None:
    assert TEXT in decode_page(with_meta(encoding), HTML)


def test_a_page_in_another_alphabet_says_its_encoding_itself() -> None:
    for encoding, text in (
        ("windows-1251", "Чайник"),
        ("shift_jis", "急須です"),
        ("gbk", "茶壶"),
        ("euc-kr", "주전자"),
    ):
        assert text in decode_page(with_meta(encoding, text), HTML)


def test_an_old_declaration_is_read() -> None:
    old = '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><title>Чайник'
    assert "Чайник" in decode_page(old.encode("cp1251"), HTML)
    xml = "<?xml version='1.0' encoding='windows-1251'?><html>Чайник"
    assert "Чайник" in decode_page(xml.encode("cp1251"), "")


def test_a_page_that_can_be_read_is_not_in_utf_16() -> None:
    body = '<meta charset="utf-16"><title>é'.encode()
    assert "<title>é" in decode_page(body, HTML)


def test_a_few_errors_do_not_make_it_another_encoding() -> None:
    body = TEXT.encode() + b"\xff" + TEXT.encode()[:-1]
    assert decode_page(body, "").count("Théière") == 2


@pytest.mark.parametrize(
    "encoding", ["punycode", "idna", "zlib", "base64", "unicode_escape", "utf-7", "undefined", "\0"]
)
def test_codecs_that_are_none_for_pages_are_not_used(encoding: str) -> None:
    assert decode_page(TEXT.encode(), f"{HTML}; charset={encoding}") == TEXT


@given(
    st.binary(max_size=200),
    st.text(max_size=60) | st.sampled_from(["charset=utf-8", "charset=gbk", "charset=latin1"]),
)
def test_any_bytes_are_a_text_without_nul(body: bytes, content_type: str) -> None:
    text = decode_page(body, content_type)
    assert "\0" not in text
    text.encode()
