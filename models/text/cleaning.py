"""One normalisation of text for training and for serving, whatever encoder reads it.

Cleaning is a chain of substitutions (`STEPS`). Each is a pattern and what a match becomes, so a step can be
run fast over a whole text or walked match by match, for example to carry the place of each character along:

1. `data:` URIs become a space;
2. HTML entities are decoded, exactly twice, as catalogues hold text that was escaped twice;
3. invisible characters (controls, NUL, zero width, bidirectional marks) go, surrogates become U+FFFD;
4. comments, scripts, styles and tags become a space; an unclosed comment or script does so to the end;
5. each character, by itself alone, is decomposed (NFKD), loses combining marks and is lowered;
6. what would still be taken for markup loses `&` and `<`, or is dropped if it is a `data:` URI;
7. after 4, 5 and 6: white space becomes single spaces, none at the ends.

Cleaned text is a fixed point: cleaning it again changes nothing. Step 6 is there for that, because two rounds
of entities and NFKD can bring up new markup (`&amp;amp;amp;`, U+FF1C). The patterns never read the same
stretch more than a few times, so the time is linear in the length of the text, whatever it holds.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEPS", "Step", "TracedText", "clean", "clean_and_cut", "clean_and_trace", "shown"]

MAX_RAW_CHARACTERS: Final = 4_000_000
"""Code points of a text as received that are searched for `data:` URIs."""

_MAX_MARKUP: Final = 32
"""How many times more code points than wanted are searched for entities and tags."""

_MAX_MARKS: Final = 4
"""How many times more code points than wanted are searched for combining marks."""

_MAX_ENTITY: Final = 40
"""Longer entities name nothing; `int` refuses those of more than 4,300 digits."""


@dataclass(frozen=True, slots=True)
class Step:
    """One substitution: every match of `pattern`, from left to right, becomes `replacement(match)`.

    Attributes:
        applies: where it is False the step leaves the text as it is; mostly a cheap test for a match.
        shortcut: the same substitution without the pattern, for speed.
        in_place: whether every match is one character, and becomes one.
    """

    pattern: re.Pattern[str]
    replacement: Callable[[re.Match[str]], str]
    applies: Callable[[str], bool]
    shortcut: Callable[[str], str] | None = None
    in_place: bool = False

    def __call__(self, text: str) -> str:
        """The text after this step."""
        if not self.applies(text):
            return text
        return self.shortcut(text) if self.shortcut else self.pattern.sub(self.replacement, text)


def clean(text: str) -> str:
    """The normalised form of a title or a description as received, all of it."""
    return reduce(lambda current, step: step(current), STEPS, text)


def clean_and_cut(text: str, *, max_characters: int) -> tuple[str, bool]:
    """The first `max_characters` code points of the normalised form, and whether anything was left out.

    The time is bounded: beyond a glance at the text as received it depends on `max_characters` alone.
    """
    return _cut(text, max_characters, lambda current, step: step(current))


def clean_and_trace(text: str, *, max_characters: int) -> "TracedText":
    """What `clean_and_cut` makes of a text, and where each of its code points was; several times as slow."""
    traced, _ = _cut(TracedText.of(text), max_characters, TracedText.after)
    return traced


def shown(text: str, *, max_characters: int) -> str:
    """The first `max_characters` code points of a text as people read it: steps 1 to 4, and single spaces.

    Markup, entities and what is invisible are gone; letters are as they were. Time as `clean_and_cut`.
    """
    raw = reduce(lambda current, step: step(current), _UNBURDEN, text[:MAX_RAW_CHARACTERS])
    whole = reduce(lambda current, step: step(current), _SHOW, raw[: max_characters * _MAX_MARKUP])
    return whole[:max_characters].rstrip()


@dataclass(frozen=True, slots=True, eq=False)
class TracedText:
    """A text that is being cleaned, L code points of it.

    Attributes:
        text: as far as it has come.
        starts_L: int64, where in the text as received that starts which became a code point; never falling.
        ends_L: int64, where it ends, behind its last code point; never falling.
    """

    text: str
    starts_L: NDArray[np.int64]
    ends_L: NDArray[np.int64]

    @classmethod
    def of(cls, text: str) -> "TracedText":
        """A text as received."""
        places_L = np.arange(len(text))
        return cls(text, places_L, places_L + 1)

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, part: slice) -> "TracedText":
        return TracedText(self.text[part], self.starts_L[part], self.ends_L[part])

    def after(self, step: Step) -> "TracedText":
        """The text after a step, walked match by match."""
        if not step.applies(self.text):
            return self
        if step.shortcut is not None and ((found := step.shortcut(self.text)) == self.text or step.in_place):
            return TracedText(found, self.starts_L, self.ends_L)
        texts, firsts, lasts = [""], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        done = placed = 0
        for match in step.pattern.finditer(self.text):
            replacement = step.replacement(match)
            texts += [self.text[done : match.start()], replacement]
            done = match.end()
            if len(replacement) == len(match[0]) == 1:  # it stays where it was, like what is before it
                continue
            before = np.arange(placed, match.start())
            firsts += [before, np.full(len(replacement), match.start())]
            lasts += [before, np.full(len(replacement), match.end() - 1)]
            placed = done
        behind = np.arange(placed, len(self.text))
        return TracedText(
            "".join([*texts, self.text[done:]]),
            self.starts_L[np.concatenate([*firsts, behind])],
            self.ends_L[np.concatenate([*lasts, behind])],
        )


CleanedText = TypeVar("CleanedText", str, TracedText)


def _cut(
    text: CleanedText, max_characters: int, after: Callable[[CleanedText, Step], CleanedText]
) -> tuple[CleanedText, bool]:
    raw = reduce(after, _UNBURDEN, text[:MAX_RAW_CHARACTERS])
    shown = reduce(after, _SHOW, raw[: max_characters * _MAX_MARKUP])
    lowered = reduce(after, _LOWER, shown[: max_characters * _MAX_MARKS])
    truncated = (
        len(text) > MAX_RAW_CHARACTERS
        or len(raw) > max_characters * _MAX_MARKUP
        or len(shown) > max_characters * _MAX_MARKS
        or len(lowered) > max_characters
    )
    return reduce(after, _SETTLE, lowered[:max_characters]), truncated


def _decode_entity(match: re.Match[str]) -> str:
    entity = match[0]
    return _unescape(entity) if len(entity) <= _MAX_ENTITY else entity[1:]


@lru_cache(maxsize=4096)
def _unescape(entity: str) -> str:
    return html.unescape(entity)


def _to_nothing(_: re.Match[str]) -> str:
    return ""


def _to_replacement(_: re.Match[str]) -> str:
    return "\N{REPLACEMENT CHARACTER}"


def _to_space(_: re.Match[str]) -> str:
    return " "


def _single_space(match: re.Match[str]) -> str:
    return " " if match.start() > 0 and match.end() < len(match.string) else ""


class _Folding(dict[int, str]):
    """The lowered form of each code point behind ASCII, filled as they come; bounded, as any may come."""

    _MAX_ENTRIES = 65_536

    def __missing__(self, code_point: int) -> str:
        if code_point < 0x80:
            return chr(code_point)
        decomposed = unicodedata.normalize("NFKD", chr(code_point))
        folded = "".join(mark.lower() for mark in decomposed if not unicodedata.combining(mark))
        if len(self) < self._MAX_ENTRIES:
            self[code_point] = folded
        return folded


_FOLDING: Final = _Folding()


def _fold(match: re.Match[str]) -> str:
    return _FOLDING[ord(match[0])]


def _lower_ascii(match: re.Match[str]) -> str:
    return match[0].lower()


# The pattern of html.unescape, so that a match decodes by itself to what it decodes to within its text.
_ENTITY: Final = Step(
    re.compile(r"&(?:#[0-9]++;?|#[xX][0-9a-fA-F]++;?|[^\t\n\f <&#;]{1,32}+;?)"),
    _decode_entity,
    applies=lambda text: "&" in text,
)
_INVISIBLE: Final = Step(
    re.compile(
        "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
        "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3"
        "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
    ),
    _to_nothing,
    applies=lambda text: not text.isascii() or not text.isprintable(),
)
_SURROGATE: Final = Step(
    re.compile("[\ud800-\udfff]"), _to_replacement, applies=lambda text: not text.isprintable()
)
_DATA_URI: Final = Step(
    re.compile(
        r"""data:[a-z]++/[a-z0-9.+-]++(?:;[^\s,;:"'<>()]*+)*+,[^\s"'<>()&]*+""", re.IGNORECASE | re.ASCII
    ),
    _to_space,
    applies=lambda text: "data:" in text.lower(),
)
_HIDDEN_CONTENT: Final = Step(
    re.compile(
        r"<!--(?:[^-]++|-(?!->))*+(?:-->|\Z)"
        r"|<(script|style)\b[^<>]*+>(?:[^<]++|<(?!/\1))*+(?:</\1[^<>]*+>?|\Z)",
        re.IGNORECASE | re.ASCII,
    ),
    _to_space,
    applies=lambda text: "<" in text,
)
# A stray `<` before a letter is left alone unless it begins a tag: closed, or cut off at the end, `<br /...`.
_TAG: Final = Step(
    re.compile(
        r"<(?:/?[a-z]|[!?])[^<>]*+>|</?[a-z][a-z0-9]*+(?:\s[^<>=]*+=[^<>]*+)?+[\s/.\u2026]*+(?=<|\Z)",
        re.IGNORECASE | re.ASCII,
    ),
    _to_space,
    applies=lambda text: "<" in text,
)
_FOLD: Final = Step(
    re.compile(r"[^\x00-\x7f]"),
    _fold,
    applies=lambda text: not text.isascii(),
    shortcut=lambda text: text.translate(_FOLDING),
)
_LOWER_ASCII: Final = Step(re.compile("[A-Z]"), _lower_ascii, applies=bool, shortcut=str.lower, in_place=True)
_SPACE: Final = Step(
    re.compile(r"\s+"), _single_space, applies=bool, shortcut=lambda text: " ".join(text.split())
)


def _has_markup(text: str) -> bool:
    return any(step(text) != text for step in (_ENTITY, _HIDDEN_CONTENT, _TAG))


_LEFTOVER: Final = Step(
    re.compile("[&<]"),
    _to_space,
    applies=lambda text: ("&" in text or "<" in text) and _has_markup(text),
)

_UNBURDEN: Final = (_DATA_URI,)
_SHOW: Final = (_ENTITY, _ENTITY, _INVISIBLE, _SURROGATE, _HIDDEN_CONTENT, _TAG, _SPACE)
_LOWER: Final = (_FOLD, _LOWER_ASCII, _SPACE)
_SETTLE: Final = (_LEFTOVER, _DATA_URI, _SPACE)

STEPS: Final = _UNBURDEN + _SHOW + _LOWER + _SETTLE
"""The whole of cleaning, in order."""
