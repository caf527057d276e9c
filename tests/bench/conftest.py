"""Fixtures of the measured systems, on a separate server, since pg_stat_statements has to be loaded at its start."""

import shutil
import tempfile
from pathlib import Path

import pytest

from bench.mail_sink import sink
from bench.postgres import Postgres
from bench.systems import Control, Layout, Satsuma

ONE_WORKER = Layout(workers=1, threads=2)
PRODUCTS = 100


@pytest.fixture(scope="package")
def folder():
    made = Path(tempfile.mkdtemp(prefix="satsuma-bench-tests-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="package")
def postgres(folder):
    server = Postgres(folder, durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="package")
def control(postgres, folder):
    shop = Control("control", postgres, ONE_WORKER, folder, PRODUCTS)
    shop.prepare()
    shop.start()
    yield shop
    shop.stop()


@pytest.fixture(scope="package")
def frozen_satsuma(postgres, folder):
    with sink() as port:
        shop = Satsuma("satsuma", postgres, ONE_WORKER, folder, PRODUCTS, mail_port=port)
        shop.prepare()
        shop.start()
        shop.freeze()
        yield shop
        shop.stop()


@pytest.fixture
def satsuma(frozen_satsuma):
    """Thaw Satsuma for one test, so that the work of its engine is not counted in another one."""
    frozen_satsuma.thaw()
    yield frozen_satsuma
    frozen_satsuma.settle()
    frozen_satsuma.freeze()
