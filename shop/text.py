"""Text that people type: one form for the same text, and no invisible characters."""

import re
from unicodedata import category, decimal, normalize

# What patterns exclude: controls, formats, separators, private use, and what is shown as blank space. The joiners are not among
# them. Ranges above U+FFFF are not either: ECMA-262 without the flag u, as some generated clients use it, does not read them.
_CONTROLS, _CONTROLS_BUT_LAYOUT = r"\x00-\x1f\x7f-\x9f", r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_FORMATS = (
    r"\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ue000-\uf8ff\ufeff\uffa0\ufff9-\ufffb"
)
INVISIBLE_CHARACTERS = _CONTROLS + _FORMATS
LINE_PATTERN = f"^[^{INVISIBLE_CHARACTERS}]*$"
LINES_PATTERN = f"^[^{_CONTROLS_BUT_LAYOUT}{_FORMATS}]*$"

# Letters and symbols that are shown as blank space: Hangul fillers, the empty Braille pattern.
_BLANK_LETTERS = re.compile("[\u115f\u1160\u3164\uffa0\u2800]")
_LAYOUT = re.compile(r"[\t\n\r]")
# Persian, Arabic and the scripts of India need these between letters. They have no visible form of their own.
_JOINERS = "\u200c\u200d"
_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # controls, formats, surrogates, private use, separators
_RESERVED_FORMAT = "\u2065"  # without a category, and invisible as the formats around it


def clean_text(text: str) -> str:
    """Return a text in NFC, trimmed, with single spaces. Control characters stay, so that they can be refused."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip(" ")
    return re.sub(r"[^\S\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", normalize("NFC", text)).strip(" ")


def has_invisible_characters(text: str, *, has_lines: bool = False) -> bool:
    """Return whether a text has control characters, or characters that could make two different texts look the same.

    has_lines: the text may have line breaks and tabs.
    """
    if has_lines:
        text = _LAYOUT.sub(" ", text)
    if text.isascii():
        return not text.isprintable()
    if has_blank_letters(text):
        return True
    return not text.isprintable() and any(_is_invisible(text, position) for position in range(len(text)))


def has_blank_letters(text: str) -> bool:
    """Return whether a text has letters or symbols that are shown as blank space."""
    return _BLANK_LETTERS.search(text) is not None


def _is_invisible(text: str, position: int) -> bool:
    character = text[position]
    if character in _JOINERS and position:
        return category(text[position - 1]) not in ("Lo", "Mn", "Mc")  # a letter without case, or a mark on one
    return category(character) in _INVISIBLE_CATEGORIES or character == _RESERVED_FORMAT


def format_count(number: int, one: str, several: str = "") -> str:
    """Return a number with what it counts: `1 second`, `2 seconds`. several: the plural, by default with an s."""
    return f"{number} {pluralize(number, one, several)}"


def pluralize(number: int, one: str, several: str = "") -> str:
    """Return the word for a number of things. several: the plural, by default with an s."""
    return one if number == 1 else several or f"{one}s"


def has_content(text: str) -> bool:
    """Return whether a text has a letter or a digit of any script."""
    return any(map(str.isalnum, text))


def clean_code(text: str) -> str:
    """Return a code that people type, such as a postal code, in capital letters and ASCII digits where it has them."""
    text = clean_text(text)
    if not text.isascii():
        plain = normalize("NFKC", text).replace("\u2010", "-").replace("\u2011", "-").replace("\u2013", "-")
        text = clean_text("".join(str(decimal(character, character)) for character in plain))
    return text.upper()
