"""The ASGI application: the list of a category and one product, each read from the tables by one statement.

It is what a good developer would write for speed alone: a pool, prepared statements, the variants as the JSON that PostgreSQL
builds, and an encoder in C. It has no access rights, rate limits, ETags, request ids or security headers.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import msgspec
from fastapi import FastAPI, HTTPException, Request, Response

PAGE_SIZE = 20
_VARIANTS = """
(SELECT json_agg(json_build_object('sku', sku, 'name', variant.name,
                                   'price', json_build_object('amount', price, 'currency', currency),
                                   'available', on_hand - reserved) ORDER BY position, sku)
 FROM inventory_variant variant JOIN inventory_stock USING (sku)
 WHERE product_id = product.id AND variant.is_active)::text AS variants"""
_COLUMNS = f"id, slug, name, description, category, {_VARIANTS}"
_LIST = f"""
SELECT {_COLUMNS} FROM inventory_product product
WHERE category = $1 AND is_active AND min_price IS NOT NULL ORDER BY id DESC LIMIT {PAGE_SIZE + 1}"""
_DETAIL = f"""
SELECT {_COLUMNS} FROM inventory_product product WHERE slug = $1 AND is_active AND min_price IS NOT NULL"""


@asynccontextmanager
async def open_pool(application: FastAPI) -> AsyncIterator[None]:
    """Open the connections, and close them when the server stops."""
    size = int(os.environ["DATABASE_POOL_SIZE"])
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=size) as pool:
        application.state.pool = pool
        yield


application = FastAPI(lifespan=open_pool)


@application.get("/api/v1/products")
async def list_products(request: Request, category: str) -> Response:
    """List the newest products of a category."""
    rows = await request.app.state.pool.fetch(_LIST, category)
    following = str(rows[PAGE_SIZE - 1]["id"]) if len(rows) > PAGE_SIZE else None
    return respond({"results": [build_product(row) for row in rows[:PAGE_SIZE]], "next": following})


@application.get("/api/v1/products/{slug}")
async def get_product(request: Request, slug: str) -> Response:
    """Get a product with its variants."""
    row = await request.app.state.pool.fetchrow(_DETAIL, slug)
    if row is None:
        raise HTTPException(404)
    return respond(build_product(row))


def build_product(row: asyncpg.Record) -> dict[str, object]:
    """Build a product, of which the variants are JSON already."""
    return {**row, "variants": msgspec.Raw(row["variants"].encode())}


def respond(body: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
