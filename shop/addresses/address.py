"""A postal address: as a client sends it, and as an order keeps it."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from shop.addresses.countries import COUNTRIES, CountryRules, get_country_rules
from shop.errors import FieldError
from shop.text import clean_code, clean_text, has_content, has_invisible_characters

Line = Annotated[str, msgspec.Meta(max_length=200)]
RequiredLine = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Region = Annotated[
    str, msgspec.Meta(max_length=100, description="State or province, by name or code; required where mail needs it.")
]
PostalCode = Annotated[str, msgspec.Meta(max_length=20, description="Required where the country has postal codes.")]
City = Annotated[str, msgspec.Meta(max_length=200, description="Required except in city states.")]
Phone = Annotated[
    str,
    msgspec.Meta(
        max_length=30,
        pattern=r"^(\+?[0-9 ()./-]*[0-9][0-9 ()./-]*)?$(?!\n)",
        extra={"expected": "digits, spaces, hyphens and brackets, with + before a country code", "content": "phone"},
    ),
]
Country = Annotated[
    str,
    msgspec.Meta(
        max_length=2,
        pattern=r"^[A-Z]{2}$(?!\n)",
        description="ISO 3166-1 alpha-2.",
        examples=["DE"],
        extra={"expected": "the two capital letters of ISO 3166-1, such as DE"},
    ),
]


class Address(msgspec.Struct, kw_only=True):
    """A postal address. A part that it does not have is empty."""

    name: str
    company: str = ""
    line1: str
    line2: str = ""
    city: str = ""
    postal_code: str = ""
    region: str = ""
    country: str
    phone: str = ""


class AddressRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A postal address that a client sends. Its country decides which parts are required."""

    name: RequiredLine
    company: Line | msgspec.UnsetType = msgspec.UNSET
    line1: RequiredLine
    line2: Line = ""
    city: City = ""
    postal_code: PostalCode = ""
    region: Region = ""
    country: Country
    phone: Phone | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Bring the parts into one form. Raises ValueError if the address has a fault, which `find_faults` names."""
        given = {part: getattr(self, part) for part in self.__struct_fields__}
        parts = {part: clean_text(text) for part, text in given.items() if text is not msgspec.UNSET}
        for _ in _find_faults(parts):
            raise ValueError("this address has a fault")
        for part, text in parts.items():
            setattr(self, part, text)
        self.postal_code = _normalize_postal_code(self.postal_code, get_country_rules(self.country)) or ""

    @classmethod
    def find_faults(cls, members: Mapping[str, Any]) -> Iterator[FieldError]:
        """Yield every fault of these parts of an address, with pointers relative to it."""
        yield from _find_faults({part: clean_text(text) for part, text in members.items()})


def _find_faults(parts: Mapping[str, str]) -> Iterator[FieldError]:
    for part, text in parts.items():
        if has_invisible_characters(text):
            yield _fault(part, "invalid_character", "Contains a control character or an invisible character.")
        elif part in ("name", "line1") and not has_content(text):
            yield _fault(part, "blank", "Must contain letters or digits.")
    country = parts.get("country")
    if country in COUNTRIES:
        yield from _find_faults_by_country(parts, get_country_rules(country))
    elif country is not None:
        yield _fault("country", "not_allowed", f"{country} is not a country code of ISO 3166-1.")


def _fault(part: str, code: str, detail: str) -> FieldError:
    return FieldError(pointer=f"/{part}", code=code, detail=detail)


def _find_faults_by_country(parts: Mapping[str, str], rules: CountryRules) -> Iterator[FieldError]:
    """Yield what is missing, and what this country does not have."""
    for part in ("city", "postal_code", "region"):
        if part in rules.required and not has_content(parts.get(part, "")) and not _is_replaced(part, parts, rules):
            yield _fault(part, "required", f"`{part}` is required for an address in {rules.country}.")
    code, region = parts.get("postal_code", ""), parts.get("region", "")
    if has_content(code) and _normalize_postal_code(code, rules) is None:
        examples = " or ".join(rules.postal_code_examples)
        yield _fault("postal_code", "invalid_format", f"Is not a postal code of {rules.country}, such as {examples}.")
    if has_content(region) and not rules.has_region(region):
        examples = ", ".join(rules.region_examples)
        yield _fault("region", "not_allowed", f"Is not a region of {rules.country}, such as {examples}.")


def _is_replaced(part: str, parts: Mapping[str, str], rules: CountryRules) -> bool:
    """Return whether the city stands for the region, in countries whose addresses have no city (Hong Kong, Japan)."""
    return part == "region" and "city" not in rules.required and has_content(parts.get("city", ""))


def _normalize_postal_code(code: str, rules: CountryRules) -> str | None:
    """Return a postal code as its country writes it, empty if it has no letter or digit, and None if it is invalid."""
    return rules.find_postal_code(clean_code(code)) if has_content(code) else ""
