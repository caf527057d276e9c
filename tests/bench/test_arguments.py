"""Bad input to the command gets a sentence and an exit status."""

import pytest

from bench.__main__ import run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["wishes"], "There is no 'wishes' to measure"),
        (["--only", "list,wishes"], "There is no 'wishes' to measure"),
        (["orders", "--clients", "many"], "--clients is 'many'; it has to be numbers"),
        (["orders", "--clients", "0"], "--clients is 0; it has to be 1 or more"),
        (["orders", "--rounds", "0"], "--rounds is 0; it has to be 1 or more"),
        (["orders", "--products", "3"], "--products is 3; it has to be 100 or more"),
        (["orders", "--orders", "2000000"], "--orders is 2000000; it can be 1000000 at most"),
        (["scale", "--clients", "1"], "scale is measured with 8 clients"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, sentence, capsys):
    assert run(arguments) == 1
    assert sentence in capsys.readouterr().err
