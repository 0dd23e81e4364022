"""Which URLs and addresses may be fetched from (pure): public ones, and what the operator allows.

Sources: IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890), RFC 6052 for NAT64. The tables
are written out because `ipaddress.is_global` differs between releases of Python and calls multicast global.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from yarl import URL

from stream_app.web.errors import FetchError, FetchReason

__all__ = [
    "Network",
    "check_url",
    "host_is_allowed",
    "host_pattern",
    "is_fetchable",
    "is_odd_literal",
    "origin",
    "parse_url",
    "read_url",
]

MAX_URL_CHARACTERS = 8_192
ANY_BELOW = "*."
"""In front of a host it stands for every host below it."""

Network = IPv4Network | IPv6Network

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the metadata address of Azure, public by number only
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: holds any IPv4 address
        "3fff::/20",
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")


def parse_url(url: str, *, allow_http: bool, allowed_hosts: Sequence[str] = ()) -> URL:
    """Read a URL as somebody wrote it and check what can be checked before any connection.

    Args:
        url: as it was written.
        allow_http: whether http:// is allowed beside https://.
        allowed_hosts: what `host_pattern` gave; only these hosts are allowed, or all when there are none.

    Raises:
        FetchError: `invalid_url` when it is none, `blocked` when its scheme, credentials, host or spelling of
            the host are not allowed.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise FetchError(
            FetchReason.INVALID_URL, f"a URL of {len(url)} characters; {MAX_URL_CHARACTERS} are allowed"
        )
    return check_url(read_url(url.strip()), allow_http=allow_http, allowed_hosts=allowed_hosts)


def check_url(address: URL, *, allow_http: bool, allowed_hosts: Sequence[str] = ()) -> URL:
    """Return the URL when its scheme, credentials and host are allowed; used again for each redirect.

    Raises:
        FetchError: as `parse_url`.
    """
    _read_parts(address)
    schemes = ("https", "http") if allow_http else ("https",)
    if not address.scheme:
        raise FetchError(FetchReason.INVALID_URL, "a relative URL; it must begin with https://")
    if address.scheme not in schemes:
        raise FetchError(
            FetchReason.BLOCKED, f"scheme {address.scheme[:20]!r} is not allowed: {' or '.join(schemes)}"
        )
    if not address.raw_host:
        raise FetchError(FetchReason.INVALID_URL, "the URL names no host")
    if address.raw_user is not None or address.raw_password is not None:
        raise FetchError(FetchReason.BLOCKED, f"{origin(address)}: a URL with a password is not allowed")
    if is_odd_literal(address.raw_host):
        raise FetchError(FetchReason.BLOCKED, f"{origin(address)}: write an address as four decimal numbers")
    if allowed_hosts and not host_is_allowed(address.raw_host, allowed_hosts):
        raise FetchError(FetchReason.BLOCKED, f"{origin(address)} is not among the allowed hosts")
    return address


def host_pattern(text: str) -> str:
    """A host, or `*.` and a host, in the one form that hosts of URLs are compared in.

    Raises:
        ValueError: it is neither.
    """
    below = text.startswith(ANY_BELOW)
    try:
        host = URL(f"https://{text.removeprefix(ANY_BELOW)}/")
        parts = host.raw_host, host.raw_path, host.raw_user, host.explicit_port
    except Exception as error:  # yarl raises more than ValueError
        raise ValueError(f"{text[:100]!r} is no host") from error
    name = _same_form(parts[0] or "")
    if not name or "*" in name or parts[1:] != ("/", None, None) or "?" in text or "#" in text:
        raise ValueError(f"{text[:100]!r} is no host; write shop.example or *.shop.example, without a port")
    return ANY_BELOW + name if below else name


def host_is_allowed(host: str, allowed_hosts: Sequence[str]) -> bool:
    """Say whether a host, as yarl encodes it, is one of these, or below one that is written with `*.`."""
    name = _same_form(host)
    return any(
        name.endswith(allowed[1:]) if allowed.startswith(ANY_BELOW) else name == allowed
        for allowed in allowed_hosts
    )


def _same_form(host: str) -> str:
    return host.lower().removesuffix(".")


def read_url(text: str) -> URL:
    """Return a URL that may be relative.

    Raises:
        FetchError: it is none.
    """
    try:
        address = URL(text)
    except Exception as error:  # not only ValueError: yarl raises IndexError for https://a[b]@
        raise _not_a_url(error) from error
    _read_parts(address)
    return address


def _read_parts(address: URL) -> None:
    """Read what yarl reads late, of a URL that was joined too, and may refuse only then."""
    try:
        _ = address.port, address.raw_host
    except Exception as error:  # as above
        raise _not_a_url(error) from error


def _not_a_url(error: Exception) -> FetchError:
    return FetchError(FetchReason.INVALID_URL, f"not a URL: {str(error)[:100]}")


def origin(address: URL) -> str:
    """Return scheme, host and port for messages: paths and queries may carry signatures."""
    return f"{address.scheme}://{(address.raw_host or '')[:100]}:{address.port}"


def is_fetchable(address: str, allowed: Sequence[Network] = ()) -> bool:
    """Say whether a connection to this address may be made.

    Args:
        address: a numeric address as a socket takes it, with or without an IPv6 zone.
        allowed: networks that are fetchable although they are not public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if any(parsed in network for network in allowed):
        return True
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _NOT_PUBLIC_V4)
    if parsed in _MAPPED or parsed in _NAT64:
        return is_fetchable(str(_embedded_v4(parsed)), allowed)
    return parsed in _GLOBAL_UNICAST_V6 and not any(parsed in network for network in _NOT_PUBLIC_V6)


def is_odd_literal(host: str) -> bool:
    """Say whether a host is an IPv4 address in a spelling other than four decimal numbers.

    Such a host (`127.1`, `0x7f.1`, `2130706433`, `0177.0.0.1`) means one thing to a resolver and another to a
    reader. As in the URL standard of WHATWG, a host is numeric when its last label is.
    """
    labels = host.rstrip(".").split(".")
    last = labels[-1].lower()
    if not (last.isdigit() or last.startswith("0x")):
        return False
    try:
        return str(IPv4Address(".".join(labels))) != host
    except ValueError:
        return True


def _embedded_v4(address: IPv6Address) -> IPv4Address:
    return IPv4Address(address.packed[-4:])
