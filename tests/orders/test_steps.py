"""The table of checkout steps: the order in which they are done, and in which they are undone."""

from contexts.orders.checkout import runner
from contexts.orders.models import Step


def test_the_table_gives_the_order_of_the_steps():
    assert runner.FORWARD == ("reserving", "authorizing", "confirming", "capturing", "done")


def test_money_is_undone_before_stock():
    assert runner.BACKWARD == ("undo_money", "undo_stock", "closed")


def test_every_stored_step_is_in_the_table():
    assert {*runner.FORWARD, *runner.BACKWARD} == set(Step)


def test_every_step_with_an_undo_names_it():
    for step in runner.CHECKOUT:
        assert (step.undo_name is None) == (step.module.undo is None), step.name
