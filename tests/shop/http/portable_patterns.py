"""Find what RE2 or ECMA-262 (with the flag u) do not read, or read in another way than Python."""

import re

# Characters after a backslash that all of them read alike.
_ESCAPES = set("\\^$.*+?()[]{}|/dDwWsSntrfv-")
_GROUP = re.compile(r"\(\?(?!:)")  # look-around, named groups, flags
_POSSESSIVE = re.compile(r"[*+?}]\+")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)


def find_unportable(pattern: str) -> list[str]:
    """Return the parts of a pattern that are not portable. Empty for a portable one."""
    try:
        re.compile(pattern)
    except re.error as error:
        return [str(error)]
    unescaped = _ESCAPE.sub("x", pattern)
    found = _GROUP.findall(unescaped) + _POSSESSIVE.findall(unescaped)
    return found + [e[0] for e in _ESCAPE.finditer(pattern) if len(e[1]) == 1 and e[1] not in _ESCAPES]
