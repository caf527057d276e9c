"""Read settings from the environment. A missing or invalid value stops the start with a message that names it.

`config/settings` and `contexts/<name>/settings.py` use these readers before Django is configured. Values are read literally:
`$x` is no reference to another variable, and nothing is unquoted or guessed. Each setting is recorded with its default and
description, from which `manage.py settings` writes docs/settings.md and .env.example.
"""

import math
import re
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "y", "on"), True),
    **dict.fromkeys(("false", "0", "no", "n", "off"), False),
}
_SETTINGS_MODULE = re.compile(r"config\.settings\.|contexts\.\w+\.settings$")
_COMMENT = re.compile(r"\s#(\s|$)")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")


class Environment(FileAwareMapping):  # type: ignore[misc]  # the library has no types
    """The environment of the process. <NAME>_FILE names a file with the value, as Docker and Kubernetes mount secrets.

    `docker run --env-file` passes quotes, comments and trailing blanks as parts of a value. They are refused, because they are
    hardly ever meant. A file may contain quotes and comments.
    """

    def __contains__(self, name: object) -> bool:
        return name in self.env or f"{name}_FILE" in self.env

    def __getitem__(self, name: str) -> str:
        try:
            value = str(super().__getitem__(name)).rstrip("\r\n")  # an editor may have added the line break
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{name}_FILE: {error}") from None
        _refuse_decoration(value, is_from_file=bool(self.env.get(f"{name}_FILE")))
        return value


def _refuse_decoration(value: str, *, is_from_file: bool) -> None:
    """Raise ValueError for blanks at the ends of a value, and for quotes and comments outside of files."""
    if value != value.strip():
        raise ValueError("the value begins or ends with a blank, which would be a part of it: remove the blank")
    if is_from_file:
        return
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"`":
        raise ValueError(
            "the value is in quotes, which would be a part of it: remove them, or put it into a file (_FILE)"
        )
    if _COMMENT.search(value):
        raise ValueError(
            "the value contains a comment (#), which would be a part of it: put the comment on its own line"
        )


def parse_whole_number(text: str) -> int:
    """Parse a whole number. Raises ValueError for anything else, such as `5s` or `1_000`."""
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def parse_number(text: str) -> float:
    """Parse a decimal number with a point. Raises ValueError for anything else, such as `1,5`, `1e3` or `nan`."""
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def parse_boolean(text: str) -> bool:
    """Parse true or false. Raises ValueError for anything else, such as `ture`."""
    if text.lower() not in BOOLEANS:
        raise ValueError(f"{text!r} is neither true nor false")
    return BOOLEANS[text.lower()]


def parse_list(text: str) -> list[str]:
    """Parse entries that are separated by commas; blanks around them do not count. Raises ValueError for an empty entry."""
    entries = [entry.strip() for entry in text.split(",")] if text else []
    if not all(entries):
        raise ValueError(f"{text!r} has an empty entry")
    return entries


PARSERS: dict[object, Callable[[str], Any]] = {
    str: str, int: parse_whole_number, float: parse_number, bool: parse_boolean, list: parse_list,
}  # fmt: skip


class LiteralEnv(environ.Env):  # type: ignore[misc]  # the library has no types
    """Read values literally: neither `$x` as another variable, nor `5 minutes` as 5, nor `ture` as false.

    django-environ does all three.
    """

    ENVIRON = Environment()

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, parse_default: bool = False
    ) -> Any:
        """Return the parsed value, or the default if the variable is not set; an empty value is None if None is the default."""
        try:
            value = self.ENVIRON[var]
        except KeyError:
            if default is self.NOTSET:
                raise ImproperlyConfigured(f"{var} is not set") from None
            return default
        if default is None and value == "":
            return None
        if isinstance(cast, list):  # env.list(name, cast=int)
            return [(PARSERS.get(cast[0]) or cast[0])(entry) for entry in parse_list(value)]
        parse = PARSERS.get(cast)
        return parse(value) if parse else self.parse_value(value, cast)


env = LiteralEnv()


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that was read: what `manage.py settings` documents.

    family: the name for all contexts (`<CONTEXT>_URL`) if each context has one. limits: the range of a number, in words.
    file, line: where it is read.
    """

    name: str
    kind: str
    default: str | None
    description: str
    module: str
    file: str
    line: int
    allowed: tuple[str, ...] = ()
    family: str = ""
    limits: str = ""


KINDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "list": "list"}
registry: dict[str, Setting] = {}


def read_setting(
    name: str,
    read: Callable[..., Any],
    default: Any = environ.Env.NOTSET,
    allowed: Collection[object] = (),
    *,
    description: str = "",
    shown_default: str | None = None,
    family: str = "",
    limits: str = "",
) -> Any:
    """Return one value of the environment. Raises ImproperlyConfigured if it is missing, unreadable or not allowed.

    description: for docs/settings.md and .env.example; by default the comment beside or above the call. shown_default:
    how to document a default that depends on other settings. family, limits: see Setting.
    Raises TypeError for a number without limits: read it with read_whole_number or read_number, which check them.
    """
    if read in (env.int, env.float) and not limits:
        raise TypeError(f"{name} is a number without limits")
    setting = _describe(name, read, default, description)
    declared = replace(
        setting,
        default=setting.default if shown_default is None else shown_default,
        allowed=tuple(map(str, allowed)),
        family=family,
        limits=limits,
    )
    registry.setdefault(name, declared)  # the first to read it declares it
    try:
        value = read(name, default=default)
    except ImproperlyConfigured:
        raise ImproperlyConfigured(f"{name} is not set; `make up` sets it for you, .env.example explains it") from None
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}") from None
    if allowed and value not in allowed:
        raise ImproperlyConfigured(f"{name} is {value!r}; it can be {', '.join(map(str, allowed))}")
    return value


def read_whole_number(name: str, default: int, *, most: int, least: int = 1, description: str = "") -> int:
    """Return a whole number from `least` to `most`. Raises ImproperlyConfigured for any other value."""
    limits = f"from {least} to {most}"
    value: int = read_setting(name, env.int, default, description=description, limits=limits)
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} is {value}; it has to be {limits}")
    return value


def read_number(name: str, default: float, *, most: float, least: float | None = None, description: str = "") -> float:
    """Return a number from `least` to `most`; by default above 0. Raises ImproperlyConfigured for any other value.

    A time limit of a socket may be 24 days at most (poll(2)), and a `timedelta` overflows later; choose a limit in which the
    value still makes sense.
    """
    limits = f"above 0 and at most {most}" if least is None else f"from {least} to {most}"
    value: float = read_setting(name, env.float, default, description=description, limits=limits)
    if not (value > 0 if least is None else least <= value) or value > most:
        raise ImproperlyConfigured(f"{name} is {value}; it has to be {limits}")
    return value


def _describe(name: str, read: Callable[..., Any], default: Any, description: str) -> Setting:
    frame = sys._getframe(2)
    while frame.f_back and not _SETTINGS_MODULE.match(
        str(frame.f_globals.get("__name__"))
    ):  # its readers may be elsewhere
        frame = frame.f_back
    return Setting(
        name=name,
        kind=KINDS.get(read.__name__)
        or ("list" if str(_get_result_type(read)).startswith(("list", "tuple")) else "text"),
        default=_format_default(default),
        description=description,
        module=str(frame.f_globals.get("__name__", "")),
        file=frame.f_code.co_filename,
        line=frame.f_lineno,
    )


def _get_result_type(read: Callable[..., Any]) -> object:
    return getattr(read, "__annotations__", {}).get("return", "")


def _format_default(default: Any) -> str | None:
    """Return a default as it is written in the environment; None if there is none and a value is required."""
    if default is environ.Env.NOTSET:
        return None
    if default is None:
        return ""
    if isinstance(default, list | tuple):
        return ",".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def find_known_names() -> Iterator[str]:
    """Yield the names of all settings that were read, and those of the files that may contain their values."""
    for name in registry:
        yield name
        yield f"{name}_FILE"
