"""Search orders for staff: by parts of number, e-mail address, names or SKUs, or by id."""

from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from contexts.orders.models import Order
from shop.db.text_search import build_like_pattern, normalize_term, parse_id, split_words

MAX_FOUND = 100

# The expressions are those of the trigram indexes in the migrations. Each part of the union uses its index.
ORDER_TEXT = """lower(number || ' ' || email || ' ' || coalesce(shipping_address ->> 'name', '') || ' ' ||
    coalesce(billing_address ->> 'name', ''))"""
_FIND_WORD_SQL = f"""
SELECT id FROM orders_order WHERE {ORDER_TEXT} LIKE %s
UNION SELECT order_id FROM orders_orderline WHERE lower(sku) LIKE %s"""


def search_orders(orders: QuerySet[Order], term: str) -> QuerySet[Order]:
    """Return the orders that contain every word of the term.

    A term that is an id finds the order with this id, or the orders of the customer with it.
    """
    if found_id := parse_id(normalize_term(term)):
        return orders.filter(Q(id=found_id) | Q(user_id=found_id))
    for word in split_words(term):
        pattern = build_like_pattern("orders", word)
        orders = orders.filter(id__in=RawSQL(_FIND_WORD_SQL, [pattern, pattern]))  # noqa: S611 no user input in the SQL
    return orders


def find_order_ids(term: str) -> tuple[UUID, ...]:
    """Implement `Orders.search`."""
    return tuple(
        search_orders(Order.objects.all(), term).order_by("-created_at").values_list("id", flat=True)[:MAX_FOUND]
    )
