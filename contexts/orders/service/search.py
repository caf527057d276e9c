"""Search orders for staff: by parts of number, e-mail address, names or SKUs, or by id."""

from uuid import UUID

from django.db.models import Q, QuerySet

from contexts.orders.models import Order
from shop.db.text_search import filter_by_found, normalize_term, parse_id

MAX_FOUND = 100

# Each part of the union uses its trigram index.
FIND_WORD_SQL = """
SELECT id FROM orders_order_search WHERE text LIKE %s
UNION SELECT order_id FROM orders_orderline WHERE lower(sku) LIKE %s"""


def search_orders(orders: QuerySet[Order], term: str) -> QuerySet[Order]:
    """Return the orders that contain every word of the term.

    A term that is an id finds the order with this id, or the orders of the customer with it.
    """
    if found_id := parse_id(normalize_term(term)):
        return orders.filter(Q(id=found_id) | Q(user_id=found_id))
    return filter_by_found(orders, FIND_WORD_SQL, term)


def find_order_ids(term: str) -> tuple[UUID, ...]:
    """Implement `Orders.search`."""
    return tuple(
        search_orders(Order.objects.all(), term).order_by("-created_at").values_list("id", flat=True)[:MAX_FOUND]
    )
