"""Text that people type: one form for the same text, and no invisible characters."""

import re
from unicodedata import category, decimal, normalize

# Letters and symbols that are shown as blank space: Hangul fillers, the empty Braille pattern.
_BLANK_LETTERS = re.compile("[\u115f\u1160\u3164\uffa0\u2800]")
_LAYOUT = re.compile(r"[\t\n\r]")
# Persian, Arabic and the scripts of India need these between letters. They have no visible form of their own.
_JOINERS = "\u200c\u200d"
_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # controls, formats, surrogates, private use, separators


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
    return category(character) in _INVISIBLE_CATEGORIES


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
