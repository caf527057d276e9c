"""Cache of rendered catalogue responses, one in each process.

A response is rendered once per version of the catalogue. The numbers of available units in it are replaced at each
request, because they change far more often than the catalogue. See ADR 12.
"""

import hashlib
import re
from collections.abc import Callable
from itertools import chain, islice
from typing import NamedTuple, cast

from shop.db.database import PreparedStatement, fetch_rows

MAX_CACHE_BYTES = 32_000_000  # per process
PAGE_OVERHEAD_BYTES = 1_000  # of the objects of one page

# These patterns match members of JSON objects only: inside a JSON string each quotation mark follows a backslash.
_AVAILABLE_PATTERN = re.compile(rb'(?<="available":)\d+')
_SKU_PATTERN = re.compile(rb'(?<="sku":")[\w.-]+')

_VERSION_AND_AVAILABLE_SQL = PreparedStatement("""
SELECT (SELECT sum(version)::bigint FROM inventory_catalogueversion),
       ARRAY(SELECT on_hand - reserved FROM unnest(%s::text[]) WITH ORDINALITY AS requested (sku, place)
             LEFT JOIN inventory_stock USING (sku) ORDER BY place)""")


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

    def add(self, key: str, content: bytes) -> RenderedResponse:
        page = self.pages[key] = _CachedPage(content)
        size = len(key) + sum(map(len, page.pieces))
        self.free_bytes -= 2 * size + PAGE_OVERHEAD_BYTES  # a page keeps its pieces and its last response
        return page.last[1]


_cache = _PageCache(0)


def get_or_render(key: str, render: Callable[[], bytes]) -> RenderedResponse:
    """Return the cached response for this key with current availability, or render it if the catalogue has changed."""
    [response] = find_or_render([key], lambda _: {key: render()})
    return cast(RenderedResponse, response)


def find_or_render(
    keys: list[str], render: Callable[[list[str]], dict[str, bytes]] = lambda _: {}
) -> list[RenderedResponse | None]:
    """Return the responses for these keys with current availability. None for those that `render` leaves out.

    render: returns the contents for keys that are not cached, or that were before the catalogue has changed. Its output must
    depend on stock only in the numbers of available units that it shows.
    A response is never outdated: each change of the catalogue raises its version in the same transaction. The version is
    read before `render` runs, so a page can be stored under an older version than its content, never under a newer one.
    """
    pages = [_cache.pages.get(key) for key in keys]
    version, available = _read_version_and_available(pages)
    cache = _use_version(version)
    responses = {
        key: page.render(units)
        for key, page, units in zip(keys, pages, available, strict=True)
        if page and cache.pages.get(key) is page and None not in units
    }
    if missing := [key for key in keys if key not in responses]:
        responses |= {key: cache.add(key, content) for key, content in render(missing).items()}
        _use_version(version)
    return [responses.get(key) for key in keys]


def _use_version(version: int) -> _PageCache:
    """Return the cache for a version of the catalogue: an empty one if the catalogue has changed, or if it is full."""
    global _cache
    cache = _cache
    if cache.version != version or cache.free_bytes < 0:
        _cache = cache = _PageCache(version)
    return cache


def _read_version_and_available(pages: list[_CachedPage | None]) -> tuple[int, list[list[int]]]:
    """Return the version of the catalogue, and the available units of the SKUs of each page (None for one without stock)."""
    skus = [sku for page in pages if page for sku in page.skus]
    [(version, available)] = fetch_rows("inventory", _VERSION_AND_AVAILABLE_SQL, [skus])
    units = iter(available)
    return version, [list(islice(units, len(page.skus))) if page else [] for page in pages]
