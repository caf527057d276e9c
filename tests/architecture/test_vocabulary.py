"""The vocabulary check finds unclear words in names, docstrings, comments and headings, and its limits only fall."""

import json
from collections import Counter

import pytest

from tests.architecture import vocabulary
from tests.architecture.vocabulary import find_in_module, find_occurrences


def expressions(source, file="shop/planted.py"):
    return [one.expression for one in find_in_module(file, source)]


def test_the_vocabulary_is_within_its_limits():
    counts = Counter(one.expression for one in find_occurrences(vocabulary.ROOT))
    assert vocabulary.find_excess(counts, vocabulary.load_limits()) == []


@pytest.mark.parametrize(
    "source",
    [
        "def notify_twin(): ...",
        "class Twin: ...",
        "LAST_TWIN = 1",
        "x.theTwin",
        "f(twin=1)",
        "import a.twin",
        "from a import b as twin",
        "def f(twin): ...",
        "f'{twin}'",
        '"""Return the twin."""',
        'def f():\n    """Return\n    the twins."""',
        "x = 1  # its twin",
        "# first line\n# twin",
    ],
)
def test_a_planted_word_is_found(source):
    assert expressions(source) == ["twins?"]


@pytest.mark.parametrize("source", ["x = 'twin'", "twinning = 1", "def f(): '''Return a winter.'''", "intwin = 1"])
def test_strings_and_other_words_are_not_found(source):
    assert expressions(source) == []


def test_a_word_in_the_name_of_a_module_is_found():
    assert expressions("", file="shop/the_twin.py") == ["twins?"]


@pytest.mark.parametrize("source", ["# it is on\n# its way", '"""It is on\nits way."""', "is_on_its_way = 1"])
def test_an_expression_of_several_words_is_found(source):
    assert expressions(source) == ["on (its|their) way"]


@pytest.mark.parametrize("start", ["What", "Whether", "who", "Where"])
def test_a_docstring_that_starts_with_a_relative_clause_is_found(start):
    assert expressions(f'def f():\n    """{start} is returned."""') == [vocabulary.RELATIVE_CLAUSE]


def test_the_place_is_reported():
    [found] = find_in_module("shop/planted.py", "x = 1\n\ny = 2  # a twin\n")
    assert str(found) == "shop/planted.py:3: a twin"


def test_all_packages_and_headings_are_checked(tmp_path):
    for package in vocabulary.PACKAGES:
        (tmp_path / package / "migrations").mkdir(parents=True)
        (tmp_path / package / "planted.py").write_text("twin = 1")
        (tmp_path / package / "migrations" / "0001.py").write_text("twin = 1")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "planted.md").write_text("# The twin\n\nA twin.\n")
    assert [one.file for one in find_occurrences(tmp_path)] == [
        *(f"{package}/planted.py" for package in vocabulary.PACKAGES),
        "docs/planted.md",
    ]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with two occurrences of one word and one of another, instead of the project's."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "planted.py").write_text("twin = 1\nmy_twin = 2\npatience = 3\n")
    monkeypatch.setattr(vocabulary, "ROOT", tmp_path)
    monkeypatch.setattr(vocabulary, "LIMITS", tmp_path / "limits.json")

    def set_limits(limits):
        (tmp_path / "limits.json").write_text(json.dumps(limits))
        return tmp_path

    return set_limits


def test_within_the_limits_the_check_passes(tree, capsys):
    tree({"twins?": 2, "patience": 1})
    assert vocabulary.main([]) == 0
    assert capsys.readouterr().out == "vocabulary: 0 expressions above their limit, 3 occurrences in all\n"


def test_above_a_limit_the_check_fails_and_lists_the_places(tree, capsys):
    tree({"twins?": 1, "patience": 1})
    assert vocabulary.main([]) == 1
    output = capsys.readouterr().out
    assert "'twins?' occurs 2 times, 1 allowed. Write: copy, duplicate" in output
    assert "  shop/planted.py:1: twin\n  shop/planted.py:2: my twin\n" in output


def test_below_a_limit_the_check_passes_and_asks_to_lower_it(tree, capsys):
    tree({"twins?": 3, "patience": 1})
    assert vocabulary.main([]) == 0
    assert "'twins?' occurs 2 times, 3 allowed. Lower it with --update." in capsys.readouterr().out


def test_an_update_only_lowers_limits(tree):
    folder = tree({"twins?": 1, "patience": 5})
    assert vocabulary.main(["--update"]) == 1
    assert json.loads((folder / "limits.json").read_text()) == {"patience": 1, "twins?": 1}


def test_an_update_removes_the_limit_of_an_unused_expression(tree):
    folder = tree({"twins?": 2, "patience": 5})
    (folder / "shop" / "planted.py").write_text("twin = 1\n")
    assert vocabulary.main(["--update"]) == 0
    assert json.loads((folder / "limits.json").read_text()) == {"twins?": 1}


def test_every_limit_is_of_a_known_expression():
    assert vocabulary.load_limits().keys() <= vocabulary.ADVICE.keys()
