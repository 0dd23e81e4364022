import html
import re
import sys
import unicodedata
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.text.cleaning import STEPS, clean, clean_and_cut, clean_and_trace, shown
from schemas.catalogue import read_catalogue
from tests.strategies import hostile_texts


@pytest.mark.parametrize(
    ("received", "cleaned"),
    [
        (
            "Caf&amp;eacute; &amp;amp; th&eacute; &lt;b&gt;neuf&lt;/b&gt; AT&T &copy2024 pi&egraveces",
            "cafe & the neuf at&t ©2024 pieces",
        ),
        ("Luc a des id&eacute;es<br />de grandeur", "luc a des idees de grandeur"),
        ("<P CLASS='a'>Été</P><!-- <b>caché --><style>p{color:red}</style>", "ete"),
        ("avant<script>if (a<b) alert('x')</script>après", "avant apres"),
        ("<!DOCTYPE html><?xml version='1.0'?><![CDATA[x", "<![cdata[x"),
        ("prix < 100 € et <3 a<b !", "prix < 100 € et <3 a<b !"),
        ("coupé au milieu <a href='x", "coupe au milieu"),
        ("coupé au milieu </di", "coupe au milieu"),
        ("coupé au milieu<br /...", "coupe au milieu"),
        ("a\u0000b \u202ec\u200bd\ufeff", "ab cd"),
        ("\u202eעברית\u202c et français", "עברית et francais"),
        ("Nº 212 x² ﬁn ™ Ⓐ", "no 212 x2 fin tm a"),
        ("DÉJÀ VU \xa0\t\n ici", "deja vu ici"),
        (
            'vu <img src="data:image/png;base64,iVBORw0KGgo="> ici data:image/gif;base64,R0lGOD et là',
            "vu ici et la",
        ),
        ("coupé \ud83d ici", "coupe \ufffd ici"),
        ("❤\ufe0f👨\u200d👩", "❤👨👩"),
        ("", ""),
        (" <br> &nbsp; ", ""),
    ],
)
def test_texts_are_brought_to_one_form(received: str, cleaned: str) -> None:
    assert clean(received) == cleaned


@given(hostile_texts())
@example("&amp;amp;amp;lt;b>")
@example("\uff1cb\uff1e")
@example("\uff06amp;")
@example("data:a/b,\uff1cdata:a/b,")
@example("<\x00b>")
def test_cleaned_text_is_a_fixed_point(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned


@given(hostile_texts())
def test_nothing_invisible_is_left(text: str) -> None:
    cleaned = clean(text)
    assert not [character for character in cleaned if unicodedata.category(character) in ("Cc", "Cs")]
    assert not set(cleaned) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200c\u200d\ufeff"
    )
    assert not [character for character in cleaned if unicodedata.combining(character)]
    assert cleaned == " ".join(cleaned.split())
    cleaned.encode()


@given(hostile_texts())
def test_entities_are_decoded_as_html_decodes_them_twice(text: str) -> None:
    decode = STEPS[1]
    assert decode is STEPS[2]
    assert decode(decode(text)) == html.unescape(html.unescape(text))


@given(hostile_texts())
def test_every_step_is_a_substitution_of_matches(text: str) -> None:
    for step in STEPS:
        walked = step.pattern.sub(step.replacement, text) if step.applies(text) else text
        text = step(text)
        assert walked == text


@given(hostile_texts(), st.integers(1, 40))
def test_a_cut_text_is_a_beginning_of_the_whole_and_says_so(text: str, max_characters: int) -> None:
    cleaned = clean(text)
    cut, truncated = clean_and_cut(text, max_characters=max_characters)
    assert len(cut) <= max_characters
    assert clean(cut) == cut
    if not truncated:
        assert cut == cleaned


@given(hostile_texts(), st.integers(1, 40))
def test_a_traced_text_is_the_cut_one_and_knows_where_each_character_was(
    text: str, max_characters: int
) -> None:
    traced = clean_and_trace(text, max_characters=max_characters)
    assert traced.text == clean_and_cut(text, max_characters=max_characters)[0]
    assert len(traced.starts_L) == len(traced.ends_L) == len(traced.text)
    for places in (traced.starts_L, traced.ends_L):
        assert (np.diff(places) >= 0).all()
    assert ((traced.starts_L >= 0) & (traced.starts_L < traced.ends_L)).all()
    assert (traced.ends_L <= len(text)).all()


def test_characters_are_traced_through_entities_tags_and_accents() -> None:
    text = "  <b>Caf&amp;eacute;</b>\u200b no\u0308el ﬁn"
    traced = clean_and_trace(text, max_characters=100)
    assert traced.text == "cafe noel fin"
    found = {
        word: text[traced.starts_L[first] : traced.ends_L[first + len(word) - 1]]
        for word in traced.text.split()
        for first in [traced.text.index(word)]
    }
    assert found == {"cafe": "Caf&amp;eacute;", "noel": "no\u0308el", "fin": "ﬁn"}


def test_short_texts_are_not_cut() -> None:
    assert clean_and_cut("Été indien", max_characters=10) == ("ete indien", False)
    assert clean_and_cut("Été indien", max_characters=9) == ("ete indie", True)
    assert clean_and_cut("Été indien", max_characters=4) == ("ete", True)


def test_each_character_folds_to_what_folds_no_further() -> None:
    assigned = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Co")]
    folded = clean(" ".join(assigned))
    assert len(folded) > 300_000
    assert clean(folded) == folded


def test_folding_is_the_lower_case_of_the_decomposed_text_without_marks() -> None:
    text = "ÀÉÎÕÜ çñ Ω Ж ｶﾞ Ǆ ﷺ ½ ß ẞ K Å"
    decomposed = unicodedata.normalize("NFKD", text)
    assert clean(text) == "".join(c for c in decomposed if not unicodedata.combining(c)).lower()


HUGE = [
    "<div><table>" * 9_000,
    "<" * 1_000_000,
    "<a" * 500_000,
    "<a b=" * 200_000,
    '<a "' * 250_000,
    "<!--" * 250_000,
    "<!--" + "-" * 1_000_000,
    "<script>" * 120_000,
    "<script></style>" * 60_000,
    "&" * 1_000_000,
    "&a" * 500_000,
    "&amp;" * 200_000,
    "&#" + "9" * 1_000_000,
    "&#x" + "f" * 1_000_000,
    '<img src="data:image/png;base64,' + "A" * 1_000_000 + '">',
    "data:a/b;" * 110_000,
    "data:" * 200_000,
    "data:image/png;base64," + "QUJD\n" * 200_000,
    "\u202eעברית français " * 60_000,
    "😀" * 10_000,
    "e" + "\u0301" * 1_000_000,
    "\u200b" * 1_000_000,
    "\ud83d" * 1_000_000,
    "\ufdfa" * 1_000_000,
    " " * 1_000_000,
    "&#" * 500_000,
    "&#x" * 300_000,
    "<a href='" * 100_000,
    "<!-" * 300_000,
    "<![CDATA[" * 100_000,
    "</" * 500_000,
    "a\0b" * 300_000,
    "".join(map(chr, range(sys.maxunicode + 1))),
]


def start_of(text: str) -> str:
    return re.sub(r"[^a-z<&-]", ".", repr(text[:12]))


@pytest.mark.parametrize("text", HUGE, ids=start_of)
def test_twice_the_text_takes_about_twice_the_time(text: str) -> None:
    def seconds(length: int) -> float:
        times = []
        for _ in range(3):
            start = process_time()
            clean(text[:length])
            times.append(process_time() - start)
        return min(times)

    # Anything quadratic takes seconds for 100,000 code points, and 4 times as many for twice that.
    assert seconds(100_000) < 3 * seconds(50_000) + 0.05


@pytest.mark.parametrize("text", HUGE, ids=start_of)
def test_a_megabyte_of_anything_takes_little_time(text: str) -> None:
    clean_and_cut(text, max_characters=4096)
    start = process_time()
    cleaned, _ = clean_and_cut(text, max_characters=4096)
    # 50 ms on a core of its own; what else runs here may cost some more.
    assert process_time() - start < 0.15
    assert len(cleaned) <= 4096


@pytest.mark.parametrize(
    ("text", "as_read"),
    [
        ("Caf&amp;eacute; <b>Noël</b>\u200b", "Café Noël"),
        ("<p>Un</p>\n\n<!-- x --><style>y</style>Deux", "Un Deux"),
        ("a < b & c", "a < b & c"),
        ("\ud83d\0", "\N{REPLACEMENT CHARACTER}"),
        ("&nbsp; <br>", ""),
    ],
)
def test_a_text_is_shown_without_markup_in_its_own_letters(text: str, as_read: str) -> None:
    assert shown(text, max_characters=100) == as_read


@given(hostile_texts(), st.integers(0, 60))
def test_what_is_shown_is_as_much_as_was_asked_for(text: str, max_characters: int) -> None:
    cut = shown(text, max_characters=max_characters)
    assert len(cut) <= max_characters
    assert cut == cut.strip()
    cut.encode()


def test_text_behind_a_large_picture_is_still_read() -> None:
    picture = '<img src="data:image/png;base64,' + "A" * 1_000_000 + '">'
    assert clean_and_cut(f"avant {picture} après", max_characters=4096) == ("avant apres", False)


def test_nothing_else_decodes_entities_or_folds_letters() -> None:
    """One normalisation: whoever needs cleaned text calls this module."""
    project = Path(__file__).parents[3]
    rooms = ("schemas", "models", "training", "stream_app")
    modules = [path for room in rooms for path in (project / room).rglob("*.py")]
    others = [
        path.relative_to(project).as_posix()
        for path in modules
        if re.search(r"unescape|unicodedata|(?<!etree\.)HTMLParser", path.read_text(encoding="utf-8"))
    ]
    assert others == ["models/text/cleaning.py"]


@pytest.mark.realdata
def test_real_rows_are_fixed_points_and_keep_their_words(rakuten_root: Path) -> None:
    num_words = 0
    for row in read_catalogue(rakuten_root):
        for text in (row.title, row.description):
            cleaned = clean(text)
            assert clean(cleaned) == cleaned
            assert "<br" not in cleaned
            assert not re.search("&[a-z]{2,8};", cleaned)
            num_words += len(cleaned.split())
    assert num_words > 200_000
