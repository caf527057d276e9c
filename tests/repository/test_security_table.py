"""docs/security.md has each requirement of OWASP ASVS, levels 1 and 2, once, with tests that exist."""

import re
from collections import Counter

import pytest

from tests.repository.documents import ROOT
from tests.repository.security_table import STATES, Row, find_problems, read_requirements, read_rows

DOCUMENT = (ROOT / "docs" / "security.md").read_text()
GOOD = Row("V1.2.4", "1", "no SQL injection", "met", "`tests/fuzz/test_api.py::test_generated_requests_find_nothing`.")


def test_each_requirement_has_one_row_in_the_order_of_the_standard():
    rows = read_rows(DOCUMENT)
    assert [(row.id, row.level) for row in rows] == list(read_requirements().items())


def test_the_list_has_all_requirements_of_both_levels():
    levels = Counter(read_requirements().values())
    assert levels == {"1": 70, "2": 183}
    chapters = Counter(name.partition(".")[0] for name in read_requirements())
    assert [*chapters.values()] == [27, 11, 19, 10, 9, 35, 18, 7, 7, 29, 14, 9, 13, 9, 13, 16, 7]


def test_each_row_has_what_its_state_needs():
    assert find_problems(read_rows(DOCUMENT)) == []


def test_the_numbers_in_the_text_are_those_of_the_tables():
    states = Counter(row.state for row in read_rows(DOCUMENT))
    [sentence] = re.findall(r"^Of \d+ requirements.*", DOCUMENT, re.MULTILINE)
    assert sentence == (
        f"Of {sum(states.values())} requirements (70 of level 1), "
        f"{', '.join(f'{states[state]} are {state}' for state in STATES)}."
    )


def test_the_requirements_that_are_not_met_are_listed_in_front():
    missing = [row.id for row in read_rows(DOCUMENT) if row.state == "not met"]
    assert f"\nNot met: {', '.join(missing)}.\n" in DOCUMENT.partition("### V1 ")[0]


def test_a_good_row_has_no_problem():
    assert find_problems([GOOD]) == []


PLANTED = {
    "there is no tests/fuzz/test_api.py::test_nothing": {"text": "`tests/fuzz/test_api.py::test_nothing`."},
    "there is no tests/fuzz/test_none.py::test_it": {"text": "`tests/fuzz/test_none.py::test_it`."},
    "no test shows it": {"text": "It is so."},
    "no document is linked": {"state": "documented", "text": "Somewhere."},
    "probably is no state": {"state": "probably"},
    "no reason is given": {"state": "n/a", "text": "."},
    "a test is named otherwise than `tests/…/test_….py::test_…`": {"text": f"{GOOD.text} And tests/fuzz."},
}


@pytest.mark.parametrize("problem", PLANTED)
def test_a_planted_problem_is_found(problem):
    assert f"V1.2.4: {problem}" in find_problems([GOOD._replace(**PLANTED[problem])])


@pytest.mark.parametrize("row", ["| V1.2.4 | 1 | sql | met | x |", "| V1.2.4 | 3 | sql | **met** | x |", "| V1.2 |"])
def test_a_row_that_cannot_be_read_is_found(row):
    with pytest.raises(ValueError, match=r"rows that cannot be read: \['V1\.2"):
        read_rows(row)
