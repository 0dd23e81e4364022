"""A page as a tree, and what it says in plain places: title, meta, scripts of JSON-LD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from lxml import etree
from yarl import URL

from stream_app.web.errors import FetchError
from stream_app.web.urls import check_url, read_url

__all__ = ["Document", "host_of"]

MAX_SCRIPTS: Final = 64
MAX_META: Final = 500
MAX_REFERENCE_CHARACTERS: Final = 2_048


class Document:
    """One page; made and used on one thread.

    libxml2 mends what is wrong with a page and looks no deeper than 256 elements; nothing else is loaded.

    Args:
        address: where the page came from.
        text: the page; a tree takes up to 80 times as many bytes.
    """

    def __init__(self, address: URL, text: str) -> None:
        self.address = address.with_fragment(None)
        parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
        try:
            root = etree.fromstring(text.encode("utf-8", "replace"), parser)
        except etree.LxmlError:
            root = None
        self.root: Any = etree.Element("html") if root is None else root
        self.json_ld = list(self._json_ld_scripts())
        etree.strip_elements(self.root, "script", "style", "template", with_tail=False)
        self._meta = self._meta_contents()
        self._base = self._base_address()

    def meta(self, *names: str) -> str:
        """The content of the first of these names or properties that has any, else an empty string."""
        return next((self._meta[name][0] for name in names if name in self._meta), "")

    def all_meta(self, name: str) -> list[str]:
        """Every content of a name or property."""
        return self._meta.get(name, [])

    def title(self) -> str:
        """The title in the head."""
        return str(self.root.xpath("string(//title)"))

    def heading(self) -> str:
        """The first heading of the page."""
        return str(self.root.xpath("string(//h1)"))

    def canonical(self) -> str:
        """The address that the page gives itself, as written, else an empty string."""
        return str(self.root.xpath("string(//link[@rel='canonical']/@href)"))

    def absolute(self, reference: str) -> URL | None:
        """The http or https address that a reference of the page means, without a fragment, if it is one."""
        if len(reference) > MAX_REFERENCE_CHARACTERS:
            return None
        try:
            joined = self._base.join(read_url(reference.strip()))
            return check_url(joined, allow_http=True).with_fragment(None)
        except (FetchError, ValueError):
            return None

    def own(self, reference: str) -> URL | None:
        """The same, if it is of the host that the page came from."""
        address = self.absolute(reference)
        return address if address is not None and host_of(address) == host_of(self.address) else None

    def _json_ld_scripts(self) -> Iterator[str]:
        for script in self.root.xpath("//script[contains(@type, 'ld+json')]")[:MAX_SCRIPTS]:
            if script.text:
                yield script.text

    def _meta_contents(self) -> dict[str, list[str]]:
        contents: dict[str, list[str]] = {}
        for meta in self.root.xpath("//meta[@content]")[:MAX_META]:
            if content := meta.get("content").strip():
                name = (meta.get("property") or meta.get("name") or "").strip().lower()
                contents.setdefault(name, []).append(content)
        return contents

    def _base_address(self) -> URL:
        written = str(self.root.xpath("string(//base/@href)"))
        try:
            return self.address.join(read_url(written.strip())) if written else self.address
        except (FetchError, ValueError):
            return self.address


def host_of(address: URL) -> str:
    """The host without `www.`, in the form hosts are compared in."""
    return (address.raw_host or "").lower().removesuffix(".").removeprefix("www.")
