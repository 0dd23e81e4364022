"""Which URLs and addresses may be fetched from."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from yarl import URL

from stream_app.web.errors import FetchError, FetchReason
from stream_app.web.urls import (
    check_url,
    host_is_allowed,
    host_pattern,
    is_fetchable,
    is_odd_literal,
    parse_url,
)

PRIVATE_ADDRESSES = [
    "0.0.0.0",  # noqa: S104 - a target, nothing listens there
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "100.63.255.255",
    "172.32.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_an_address_that_is_not_public_is_not_fetchable(address: str) -> None:
    assert not is_fetchable(address)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_fetchable(address: str) -> None:
    assert is_fetchable(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f.0.0.1", "1.1.1.1:80", "/run/socket"])
def test_what_is_not_a_numeric_address_is_not_fetchable(text: str) -> None:
    assert not is_fetchable(text)


def test_only_the_allowed_network_becomes_fetchable() -> None:
    allowed = (ip_network("10.20.0.0/16"),)
    assert is_fetchable("10.20.1.1", allowed)
    assert is_fetchable("::ffff:10.20.1.1", allowed)
    assert not is_fetchable("10.21.1.1", allowed)
    assert not is_fetchable("127.0.0.1", allowed)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_fetchable(address: object) -> None:
    parsed = ip_address(str(address))
    if parsed.is_private or parsed.is_loopback or parsed.is_multicast or parsed.is_link_local:
        mapped = getattr(parsed, "ipv4_mapped", None)
        assert not is_fetchable(str(parsed)) or (mapped is not None and is_fetchable(str(mapped)))


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "1.2.3.4.5",
        "1.2.3.256",
        "0",
        "a.1",
        "a.0x",
    ],
)
def test_another_spelling_of_an_ipv4_address_is_odd(host: str) -> None:
    assert is_odd_literal(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "example.com", "1.example.com", "0x7f.example", "xn--caf-dma.fr"]
)
def test_a_plain_host_is_not_odd(host: str) -> None:
    assert not is_odd_literal(host)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", FetchReason.INVALID_URL),
        ("images/1.jpg", FetchReason.INVALID_URL),
        ("//example.com/1.jpg", FetchReason.INVALID_URL),
        ("http://example.com/1.jpg", FetchReason.BLOCKED),
        ("file:///etc/passwd", FetchReason.BLOCKED),
        ("ftp://example.com/1.jpg", FetchReason.BLOCKED),
        ("data:image/png;base64,AAAA", FetchReason.BLOCKED),
        ("http+unix://%2Ftmp%2Fsocket/x", FetchReason.BLOCKED),
        ("https://user:secret@example.com/1.jpg", FetchReason.BLOCKED),
        ("https://@example.com/1.jpg", None),
        ("https:///1.jpg", FetchReason.INVALID_URL),
        ("https://[::1/1.jpg", FetchReason.INVALID_URL),
        ("https://a[b]@", FetchReason.INVALID_URL),
        ("https://a[b]@shop.example/", FetchReason.INVALID_URL),
        ("https://example.com:99999/1.jpg", FetchReason.INVALID_URL),
        ("https://example.com:x/1.jpg", FetchReason.INVALID_URL),
        ("https://127.1/1.jpg", FetchReason.BLOCKED),
        ("https://" + "a" * 9_000, FetchReason.INVALID_URL),
        ("HTTPS://example.com/1.jpg", None),
        ("  https://example.com/é.jpg?a=ü#x\n", None),
    ],
)
def test_a_url_is_checked_before_any_connection(url: str, reason: FetchReason | None) -> None:
    if reason is None:
        assert parse_url(url, allow_http=False).host == "example.com"
        return
    with pytest.raises(FetchError) as caught:
        parse_url(url, allow_http=False)
    assert caught.value.reason is reason
    assert "secret" not in str(caught.value)


def test_http_is_allowed_only_when_asked_for() -> None:
    assert parse_url("http://example.com/1.jpg", allow_http=True).scheme == "http"


@given(st.text() | st.text().map("https://{}".format) | st.text().map("https://[{}".format))
def test_any_text_is_a_url_or_a_fetch_error(text: str) -> None:
    try:
        address = parse_url(text, allow_http=True)
    except FetchError as error:
        message = str(error)
        event(error.reason)
    else:
        message = ""
        assert address.host
    assert len(message) < 400


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("shop.example", "shop.example", True),
        ("SHOP.Example.", "shop.example", True),
        ("shop.example", "www.shop.example", False),
        ("shop.example", "shop.example.evil.example", False),
        ("shop.example", "notshop.example", False),
        ("*.cdn.example", "a.cdn.example", True),
        ("*.cdn.example", "a.b.cdn.example", True),
        ("*.CDN.example", "A.cdn.EXAMPLE.", True),
        ("*.cdn.example", "cdn.example", False),
        ("*.cdn.example", "evilcdn.example", False),
        ("*.cdn.example", "a.cdn.example.evil.example", False),
        ("café.example", "xn--caf-dma.example", True),
        ("xn--caf-dma.example", "CAFÉ.example", True),
        ("*.café.example", "a.café.example", True),
        ("cafe.example", "café.example", False),
        ("10.20.0.5", "10.20.0.5", True),
        ("[2001:4860::8]", "[2001:4860:0::8]", True),
    ],
)
def test_hosts_are_compared_in_one_form(pattern: str, host: str, allowed: bool) -> None:
    address = URL(f"https://{host}/1.jpg")
    assert host_is_allowed(address.raw_host or "", [host_pattern(pattern)]) is allowed
    if allowed:
        assert parse_url(str(address), allow_http=False, allowed_hosts=[host_pattern(pattern)])
        return
    with pytest.raises(FetchError, match="is not among the allowed hosts") as caught:
        parse_url(str(address), allow_http=False, allowed_hosts=[host_pattern(pattern)])
    assert caught.value.reason is FetchReason.BLOCKED


def test_a_joined_url_that_is_refused_late_is_a_fetch_error() -> None:
    with pytest.raises(FetchError) as caught:
        check_url(URL("https://example.com/").join(URL("//a:b", encoded=True)), allow_http=False)
    assert caught.value.reason is FetchReason.INVALID_URL
