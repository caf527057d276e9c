"""Text that people type."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.text import (
    INVISIBLE_CHARACTERS,
    clean_code,
    clean_text,
    format_count,
    has_content,
    has_invisible_characters,
)

INVISIBLE = ["\t", "\n", "\x00", "\x7f", "\x85", "\xad", "\u200b", "\u200e", "\u2028", "\u202e", "\u2066", "\ufeff",
             "\U000e0041", "\ue000", "\u3164", "\u2800"]  # fmt: skip


@pytest.mark.parametrize("character", INVISIBLE, ids=[f"U+{ord(character):04X}" for character in INVISIBLE])
@pytest.mark.parametrize("text", ["a{}b", "ü{}b", "{}", "ab{}"])
def test_an_invisible_character_is_found(text, character):
    assert has_invisible_characters(clean_text(text.format(character)))


@pytest.mark.parametrize(
    "text", ["", "Ada Buyer", "Jürgen Groß", "山田 太郎", "علی\u200cرضا", "क्\u200dष", "O’Neil №5", "🍊"]
)
def test_a_text_that_is_read_as_it_is_written_has_none(text):
    assert not has_invisible_characters(clean_text(text))


def test_patterns_know_the_invisible_characters_up_to_u_ffff():
    characters = [chr(code) for code in range(0x10000) if not 0xD800 <= code <= 0xDFFF]
    invisible = {character for character in characters if has_invisible_characters(f"a{character}")}
    excluded = {character for character in characters if re.match(f"[{INVISIBLE_CHARACTERS}]", character)}
    assert excluded == invisible - {"\u200c", "\u200d"}, "the joiners are allowed between some letters"


@given(st.text())
def test_a_text_in_one_form_stays_as_it_is(text):
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned == unicodedata.normalize("NFC", cleaned)
    assert not cleaned.startswith(" ") and not cleaned.endswith(" ") and "  " not in cleaned
    assert has_content(cleaned) == has_content(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("typed", "code"), [(" sw1a  1aa", "SW1A 1AA"), ("１５４－００２３", "154-0023"), ("١٢٣٤٥", "12345")]
)
def test_a_code_is_written_in_capital_letters_and_plain_digits(typed, code):
    assert clean_code(typed) == code


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [(1, ("second",), "1 second"), (0, ("second",), "0 seconds"), (2, ("second",), "2 seconds"),
     (1, ("entry", "entries"), "1 entry"), (1000, ("entry", "entries"), "1000 entries")],
)  # fmt: skip
def test_a_count_has_the_plural_unless_it_is_one(number, words, expected):
    assert format_count(number, *words) == expected
