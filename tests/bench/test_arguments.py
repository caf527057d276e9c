"""Invalid arguments get a message and an exit status."""

import pytest

from bench.__main__ import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["returns"], "'returns' cannot be measured; choose from"),
        (["--only", "list,returns"], "'returns' cannot be measured; choose from"),
        (["orders", "--clients", "many"], "--clients is 'many'; it must be numbers"),
        (["orders", "--clients", "0"], "--clients is 0; it must be 1 or more"),
        (["orders", "--rounds", "0"], "--rounds is 0; it must be 1 or more"),
        (["orders", "--products", "3"], "--products is 3; it must be 100 or more"),
        (["orders", "--before", "no-such-revision", "--quick"], "--before no-such-revision: fatal: "),
        (["orders", "--orders", "2000000"], "--orders is 2000000; it must be 1000000 or less"),
        (["scale", "--clients", "1"], "scale is measured with 8 clients; add 8 to --clients"),
    ],
)
def test_an_invalid_argument_exits_with_a_message(arguments, message, capsys):
    assert run(arguments) == 1
    assert message in capsys.readouterr().err
