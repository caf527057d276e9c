"""Parse a JSON text strictly, and describe in plain words what is wrong with it.

msgspec decodes requests. This slower parser is used after it has failed, and to find members that occur twice: msgspec
keeps the last one, and a client whose first value is ignored silently would not learn of it.
"""

import json
from collections import Counter
from typing import Any

import msgspec

from shop.errors import FieldError

_MAX_DIGITS = 4000  # Python converts no integer with more than 4300 digits
_EXPLANATIONS = {
    "Expecting property name enclosed in double quotes": "A member name in double quotes is expected here",
    "Illegal trailing comma before end of object": "There is a comma without a member after it",
    "Illegal trailing comma before end of array": "There is a comma without a value after it",
    "Expecting ':' delimiter": "A colon is missing after the name of a member",
    "Expecting ',' delimiter": "A comma, or the end of the object or list, is missing",
    "Expecting value": "A value is expected here",
    "Extra data": "There is more text after the end of the JSON value",
    "Unterminated string starting at": "A string begins here and has no closing quote",
    "Invalid control character at": "A string contains a control character; write it as an escape such as \\n",
    "Invalid \\escape": "A string contains a backslash that begins no valid escape",
    "Invalid \\uXXXX escape": "A \\u escape needs four hexadecimal digits",
    "Unexpected UTF-8 BOM (decode using utf-8-sig)": "The text begins with a byte order mark",
}


class SyntaxFault(Exception):
    """The text is not JSON that this API accepts."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.field_error = FieldError(pointer="", code=code, detail=detail)


class _RepeatedMember(Exception):
    """A member occurs twice in one object."""


class ObjectWithRepeats(dict[str, Any]):
    """An object of which a member occurs more than once; the last one is kept."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(members)
        counts = Counter(name for name, _ in members)
        self.repeated = [name for name, count in counts.items() if count > 1]


def has_repeated_members(data: bytes) -> bool:
    """Return whether a member occurs twice in one object of a valid JSON text.

    A text that is the same after it was decoded and encoded again has none, which settles most requests quickly.
    """
    if msgspec.json.format(data, indent=-1) == msgspec.json.encode(msgspec.json.decode(data)):
        return False
    try:
        json.loads(data, object_pairs_hook=_stop_at_repeated_members)
    except _RepeatedMember:
        return True
    return False


def parse_strictly(data: bytes) -> Any:
    """Parse a JSON text. Raises SyntaxFault: no JSON, no UTF-8, NaN, nested too deeply.

    An object with a member that occurs twice becomes an ObjectWithRepeats. A number that is too large for any field
    becomes infinity.
    """
    try:
        return _parse(data.decode())
    except UnicodeDecodeError as error:
        raise SyntaxFault("not_utf_8", f"The text is not UTF-8: byte {error.start + 1} cannot be decoded.") from None
    except json.JSONDecodeError as error:
        raise _explain(error) from None
    except RecursionError:
        raise SyntaxFault("nested_too_deeply", "The JSON is nested too deeply.") from None


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_build_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer has too many digits; only now, because a function for each integer is slow
        return json.loads(
            text, object_pairs_hook=_build_object, parse_constant=_refuse_constant, parse_int=_parse_integer
        )


def _explain(error: json.JSONDecodeError) -> SyntaxFault:
    if not error.doc.strip():
        return SyntaxFault("syntax", "The request has no body. Send a JSON text.")
    reason = _EXPLANATIONS.get(error.msg.removesuffix(" at"), _EXPLANATIONS.get(error.msg, "This is not JSON"))
    if error.pos >= len(error.doc.rstrip()):
        reason = "The text ends before the JSON value is complete"
    return SyntaxFault("syntax", f"Not valid JSON in line {error.lineno}, column {error.colno}: {reason}.")


def _build_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    return found if len(found) == len(members) else ObjectWithRepeats(members)


def _stop_at_repeated_members(members: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise _RepeatedMember


def _refuse_constant(name: str) -> None:
    raise SyntaxFault("syntax", f"{name} is not a JSON number.")


def _parse_integer(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float("inf")
