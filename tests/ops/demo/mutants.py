"""Bugs that the tests of this folder catch: `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="demo_waits_for_all_orders_together",
        what="the demo calls right orders wrong when there are so many that reading them takes longer than its time limit",
        rule="the demo reports an order only if the shop does not settle it",
        module="ops.demo.outcomes",
        replace="            settled_at = time.monotonic()\n        elif",
        by="            pass\n        elif",
        caught_by="tests/ops/demo/test_demo.py::test_the_orders_of_a_shop_that_settles_them_slowly_are_right",
    ),
    Mutant(
        name="demo_takes_a_sold_out_cart_for_an_error",
        what="the demo calls a shop wrong whose item sold out while a customer filled the cart",
        rule="the demo reports what the API does not document",
        module="ops.demo.scenarios",
        replace='if status == 409 and body["code"] == OUT_OF_STOCK:',
        by='if status == 409 and not body["code"]:',
        caught_by="tests/ops/demo/test_demo.py::test_a_cart_that_sold_out_meanwhile_is_an_order_out_of_stock",
        fails_with="ops.demo.client.UnexpectedResponse",
    ),
    Mutant(
        name="demo_keeps_an_expired_token",
        what="the orders of customers with an account count as wrong once their access tokens have expired",
        rule="the demo reads an order as its customer",
        module="ops.demo.scenarios",
        replace="if status == 401 and self.client.token:",
        by="if status == 418 and self.client.token:",
        caught_by="tests/ops/demo/test_demo.py::test_an_order_is_read_after_the_access_token_that_placed_it_has_expired",
        fails_with="ops.demo.client.UnexpectedResponse",
    ),
    Mutant(
        name="demo_expects_the_approval_page_at_once",
        what="the demo calls an order wrong that the shop has accepted before its payment was authorized",
        rule="202: the order is stored, and the payment follows",
        module="ops.demo.scenarios",
        replace="        order = placed.read()\n    return",
        by="        break\n    return",
        caught_by="tests/ops/demo/test_demo.py::test_the_approval_page_of_an_order_may_come_later",
    ),
)
