"""What of W3C Trace Context is carried on, and what hostile headers do."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.trace_context import TraceContext, read_trace_context, trace_headers
from tests.strategies import record_headers

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()


def test_both_headers_are_carried_on() -> None:
    headers = [("ce_id", b"e-1"), ("traceparent", PARENT), ("tracestate", b"a=1,b@c=2")]
    assert read_trace_context(headers) == TraceContext(TRACE, SPAN, "01", "a=1,b@c=2")
    assert trace_headers(headers) == [("traceparent", PARENT), ("tracestate", b"a=1,b@c=2")]


def test_without_headers_nothing_is() -> None:
    assert trace_headers(()) == trace_headers([("ce_id", b"e-1"), ("traceparent", None)]) == []


def test_names_are_read_in_any_case() -> None:
    assert trace_headers([("TraceParent", PARENT)]) == [("traceparent", PARENT)]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        PARENT[:-1],
        PARENT + b"0",
        PARENT + b"-",
        PARENT + b"-00",
        PARENT + b"\n",
        b" " + PARENT,
        PARENT.upper(),
        PARENT.replace(b"-", b"_"),
        b"ff" + PARENT[2:],
        b"0g" + PARENT[2:],
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-0x".encode(),
        f"00-{TRACE[1:]}-{SPAN}-01".encode(),
        b"\xff\xfe" * 30,
        "00-４bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".encode(),
    ],
)
def test_what_is_no_traceparent_is_dropped(value: bytes) -> None:
    assert trace_headers([("traceparent", value), ("tracestate", b"a=1")]) == []


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"01" + PARENT[2:], PARENT),
        (b"01" + PARENT[2:] + b"-what-comes-\xff\n", PARENT),
        (f"cc-{TRACE}-{SPAN}-fe".encode(), f"00-{TRACE}-{SPAN}-00".encode()),
        (f"cc-{TRACE}-{SPAN}-ff".encode(), PARENT),
    ],
)
def test_a_later_version_is_written_as_the_one_that_is_known(value: bytes, written: bytes) -> None:
    assert trace_headers([("traceparent", value)]) == [("traceparent", written)]


def test_a_later_version_has_to_go_on_with_a_dash() -> None:
    assert trace_headers([("traceparent", b"01" + PARENT[2:] + b"0")]) == []


def test_of_repeated_headers_the_last_valid_one_counts() -> None:
    other = PARENT.replace(b"4bf9", b"4bfa")
    headers = [("traceparent", PARENT), ("traceparent", other), ("traceparent", b"x"), ("traceparent", None)]
    states = [("tracestate", b"a=1"), ("tracestate", b"b=2"), ("tracestate", b"=")]
    assert trace_headers([*states, *headers]) == [("traceparent", other), ("tracestate", b"b=2")]


@pytest.mark.parametrize(
    ("state", "is_carried"),
    [
        (b"a=1", True),
        (b"a=1 , ,b=2", True),
        (b"tenant@vendor=1", True),
        (b"1tenant@vendor=a b", True),
        (b"a*-_/=!", True),
        (b"a=" + b"1" * 256, True),
        (b",".join([b"a=1"] * 32), True),
        (b"", False),
        (b"A=1", False),
        (b"a", False),
        (b"a=", False),
        (b"a=1=2", False),
        (b"a=\x00", False),
        (b"a=\xe9", False),
        (b"a=1\r\nb: 2", False),
        (b"1a=1", False),
        (b"a=" + b"1" * 257, False),
        (b",".join([b"a=1"] * 33), False),
        (b"a=" + b"1" * 250 + b",b=" + b"1" * 256, True),
        (b"a=" + b"1" * 256 + b",b=" + b"1" * 252, False),
    ],
)
def test_a_tracestate_is_carried_as_far_as_it_is_one(state: bytes, is_carried: bool) -> None:
    found = dict(trace_headers([("traceparent", PARENT), ("tracestate", state)]))
    assert found["traceparent"] == PARENT
    assert ("tracestate" in found) is is_carried
    assert found.get("tracestate", state) == state


@given(
    record_headers(),
    st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate"]), st.none() | st.binary(max_size=70))),
    st.from_regex(rb"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,3})?\Z"),
)
def test_whatever_comes_only_what_is_valid_goes_on(
    headers: list[tuple[str, bytes | None]], more: list[tuple[str, bytes | None]], parent: bytes
) -> None:
    carried = trace_headers([*headers, *more, ("traceparent", parent)])
    assert [name for name, _ in carried] in ([], ["traceparent"], ["traceparent", "tracestate"])
    if carried:
        assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", carried[0][1])
        assert trace_headers(carried) == carried
