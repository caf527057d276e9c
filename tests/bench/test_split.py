"""The shop in five processes is measured as a whole."""

import pytest

from bench import measure
from bench.mail_sink import sink
from bench.systems import Split
from tests.bench.conftest import ONE_WORKER, PRODUCTS


@pytest.fixture
def split(postgres, folder, frozen_satsuma):
    """Start the shop in five processes, on the databases of the shop in one process, which is frozen meanwhile."""
    with sink() as port:
        shop = Split("satsuma", postgres, ONE_WORKER, folder, PRODUCTS, mail_port=port)
        try:
            shop.start()
            yield shop
        finally:
            shop.stop()


def test_its_orders_are_sold_by_five_processes_and_their_cpu_counts(split):
    def committed():
        return split.count(
            split.name_database("inventory"), "SELECT count(*) FROM inventory_reservation WHERE status = 'committed'"
        )

    before = committed()
    figures, _ = measure.measured(split, "orders", clients=2, seconds=1, seed=77)
    assert figures.count > 0
    assert figures.app_cpu > 0
    assert len(split.processes) == 10  # a public and an internal server each
    assert committed() - before == figures.count
