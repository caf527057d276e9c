"""Cache of rendered catalogue responses, one in each process.

A response is rendered once per version of the catalogue. The numbers of available units in it are replaced at each
request, because they change far more often than the catalogue. See ADR 12.
"""

import hashlib
import re
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from shop.db.database import PreparedStatement, fetch_rows

MAX_CACHE_BYTES = 32_000_000  # per process
PAGE_OVERHEAD_BYTES = 1_000  # of the objects of one page

# These patterns match members of JSON objects only: inside a JSON string each quotation mark follows a backslash.
_AVAILABLE_PATTERN = re.compile(rb'(?<="available":)\d+')
_SKU_PATTERN = re.compile(rb'(?<="sku":")[\w.-]+')

_VERSION_AND_AVAILABLE_SQL = PreparedStatement("""
SELECT (SELECT sum(version)::bigint FROM inventory_catalogueversion),
       ARRAY(SELECT on_hand - reserved FROM unnest(%s::text[]) WITH ORDINALITY AS requested (sku, place)
             JOIN inventory_stock USING (sku) ORDER BY place)""")


class RenderedResponse(NamedTuple):
    """The body of a catalogue response and the ETag of its content."""

    content: bytes
    etag: str

    @classmethod
    def from_content(cls, content: bytes) -> "RenderedResponse":
        return cls(content, f'W/"{hashlib.blake2b(content, digest_size=16).hexdigest()}"')


class _CachedPage:
    """A rendered response, split at the numbers of available units so that they can be replaced."""

    def __init__(self, content: bytes) -> None:
        self.pieces = _AVAILABLE_PATTERN.split(content)
        self.skus = [sku.decode() for sku in _SKU_PATTERN.findall(content)]
        self.last: tuple[list[int], RenderedResponse] = (
            [int(units) for units in _AVAILABLE_PATTERN.findall(content)],
            RenderedResponse.from_content(content),
        )

    def render(self, available: list[int]) -> RenderedResponse:
        """Return the response with these numbers of available units, in the order of `skus`."""
        last_available, response = self.last
        if available != last_available:
            parts = zip(self.pieces, [*(str(units).encode() for units in available), b""], strict=True)
            response = RenderedResponse.from_content(b"".join(chain.from_iterable(parts)))
            self.last = available, response
        return response


class _PageCache:
    """The cached pages of one version of the catalogue."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.pages: dict[str, _CachedPage] = {}
        self.free_bytes = MAX_CACHE_BYTES

    def add(self, key: str, page: _CachedPage) -> None:
        self.pages[key] = page
        size = len(key) + sum(map(len, page.pieces))
        self.free_bytes -= 2 * size + PAGE_OVERHEAD_BYTES  # a page keeps its pieces and its last response


_cache = _PageCache(0)


def get_or_render(key: str, render: Callable[[], bytes]) -> RenderedResponse:
    """Return the cached response for this key with current availability, or render it if the catalogue has changed.

    The output of `render` must depend on stock only in the numbers of available units that it shows.
    A response is never outdated: each change of the catalogue raises its version in the same transaction. The version is
    read before `render` runs, so a page can be stored under an older version than its content, never under a newer one.
    """
    global _cache
    page = _cache.pages.get(key)
    version, available = _read_version_and_available(page)
    cache = _cache
    if cache.version != version:
        _cache = cache = _PageCache(version)
    if page and cache.pages.get(key) is page:
        return page.render(available)
    page = _CachedPage(render())
    cache.add(key, page)
    if cache.free_bytes < 0:
        _cache = _PageCache(version)
    return page.last[1]


def find_current(key: str) -> RenderedResponse | None:
    """Return the cached response for this key with current availability. None if it has to be rendered."""
    page = _cache.pages.get(key)
    if page is None:
        return None
    version, available = _read_version_and_available(page)
    cache = _cache
    is_current = cache.version == version and cache.pages.get(key) is page
    return page.render(available) if is_current else None


def _read_version_and_available(page: _CachedPage | None) -> tuple[int, list[int]]:
    [(version, available)] = fetch_rows("inventory", _VERSION_AND_AVAILABLE_SQL, [page.skus if page else []])
    return version, available
