"""Postal addresses: required parts, postal codes and regions by country, and one form for what people type."""

import msgspec
import pytest

from shop.addresses.address import Address, AddressRequest
from shop.addresses.countries import COUNTRIES, get_country_rules
from shop.http.field_errors import find_field_errors
from tests.shopper import ADDRESS

NO_CITY = {"city": ""}
VALID = {
    "Germany": {},
    "Germany, with the old country letter": {"postal_code": "D-10115"},
    "the United Kingdom, in lower case": {"country": "GB", "city": "London", "postal_code": "sw1a 1aa"},
    "the United States": {"country": "US", "city": "New York", "postal_code": "10001", "region": "NY"},
    "a state by name": {"country": "US", "city": "New York", "postal_code": "10001-1234", "region": "new  york"},
    "a state by ISO 3166-2": {"country": "US", "city": "New York", "postal_code": "10001", "region": "US-NY"},
    "a region by ISO 3166-2, other than the post's": {
        "country": "IN",
        "city": "X",
        "postal_code": "110001",
        "region": "DL",
    },
    "a name without its accents": {"country": "BR", "city": "X", "postal_code": "40301-110", "region": "Sao Paulo"},
    "a territory that has no list of regions": {"country": "AS", "city": "Pago Pago", "postal_code": "96799"},
    "Latvia": {"country": "LV", "city": "Riga", "postal_code": "LV-1073"},
    "Latvia, without its prefix": {"country": "LV", "city": "Riga", "postal_code": "1073"},
    "Japan": {"country": "JP", "postal_code": "154-0023", "region": "Tokyo", **NO_CITY},
    "Japan, in its own writing": {"country": "JP", "postal_code": "１５４－００２３", "region": "東京", **NO_CITY},
    "a country without postal codes": {"country": "QA", "city": "Doha", "postal_code": ""},
    "a country without postal codes, where a form required one": {"country": "QA", "city": "Doha", "postal_code": "-"},
    "a city state": {"country": "SG", "postal_code": "546080", **NO_CITY},
    "a region that stands in the field of the city": {"country": "HK", "city": "Kowloon", "postal_code": ""},
    "an unknown region where mail needs none": {"country": "IE", "city": "Dublin", "region": "D4", "postal_code": ""},
    "a name that needs a joiner": {"name": "علی\u200cرضا"},
    "a company and a telephone": {"company": "Satsuma GmbH", "phone": "+49 (30) 123-456"},
}


@pytest.mark.parametrize("kind", VALID)
def test_an_address_that_mail_can_be_sent_to_is_accepted(kind):
    address = ADDRESS | VALID[kind]
    assert find_field_errors(address, AddressRequest) == ()
    msgspec.convert(address, AddressRequest)


US = {"country": "US", "city": "New York", "postal_code": "10001", "region": "NY"}
INVALID = {
    "a country that does not exist": ({"country": "ZZ"}, {("/country", "not_allowed")}),
    "a code that is reserved": ({"country": "UK"}, {("/country", "not_allowed")}),
    "a country in lower case": ({"country": "de"}, {("/country", "invalid_format")}),
    "a blank name": ({"name": " \u00a0"}, {("/name", "blank")}),
    "a name of invisible characters": ({"name": "\u3164"}, {("/name", "invalid_character")}),
    "a line without a letter or digit": ({"line1": "-"}, {("/line1", "blank")}),
    "a control character": ({"line1": "1 Main\tStreet"}, {("/line1", "invalid_character")}),
    "a line break": ({"name": "Ada\nBuyer"}, {("/name", "invalid_character")}),
    "a zero width space": ({"city": "Ber\u200blin"}, {("/city", "invalid_character")}),
    "a joiner between Latin letters": ({"name": "Ada\u200dBuyer"}, {("/name", "invalid_character")}),
    "a change of direction": ({"company": "\u202eelgooG"}, {("/company", "invalid_character")}),
    "no city": ({"city": " "}, {("/city", "required")}),
    "no postal code": ({"postal_code": ""}, {("/postal_code", "required")}),
    "a postal code of another country": ({"postal_code": "1011"}, {("/postal_code", "invalid_format")}),
    "a code that only begins like one": (
        {"country": "CR", "postal_code": "1000x"},
        {("/postal_code", "invalid_format")},
    ),
    "no state": (US | {"region": ""}, {("/region", "required")}),
    "a state that does not exist": (US | {"region": "XX"}, {("/region", "not_allowed")}),
    "a telephone with letters": ({"phone": "call me"}, {("/phone", "invalid_format")}),
    "a part that it does not have": ({"street": "1 Main Street"}, {("/street", "unknown_member")}),
    "several at once": (
        {"name": "", "line1": " ", "country": "US", "city": 5, "postal_code": "x"},
        {
            ("/name", "blank"),
            ("/line1", "blank"),
            ("/city", "wrong_type"),
            ("/postal_code", "invalid_format"),
            ("/region", "required"),
        },
    ),
}


@pytest.mark.parametrize("kind", INVALID)
def test_every_fault_of_an_address_is_named(kind):
    changes, expected = INVALID[kind]
    assert {(fault.pointer, fault.code) for fault in find_field_errors(ADDRESS | changes, AddressRequest)} == expected
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(ADDRESS | changes, AddressRequest)


def test_an_address_is_stored_in_one_form():
    typed = {
        "name": "  Ada \u3000 Buyer ",
        "line1": "Caf\u0065\u0301 1",
        "city": "\u00a0Riga",
        "postal_code": " lv-1073 ",
        "country": "LV",
    }
    stored = msgspec.to_builtins(msgspec.convert(typed, AddressRequest))
    assert stored == {
        "name": "Ada Buyer", "line1": "Caf\u00e9 1", "line2": "", "city": "Riga", "postal_code": "LV-1073",
        "region": "", "country": "LV",
    }  # fmt: skip


def test_an_address_that_was_stored_before_it_was_checked_can_be_shown():
    stored = {"name": " ", "line1": "x", "city": "", "postal_code": "1", "country": "ZZ"}
    assert msgspec.convert(stored, Address).country == "ZZ"


def test_the_countries_are_those_of_iso_3166_1():
    assert len(COUNTRIES) == 249
    assert {"DE", "US", "AX", "SS", "TW", "AQ"} < COUNTRIES
    assert not COUNTRIES & {"ZZ", "XX", "EU", "UK", "AN", "SU", "AC", "de"}


@pytest.mark.parametrize("country", sorted(COUNTRIES))
def test_the_examples_of_every_country_are_valid(country):
    """The rules come from a package: its data has to mean what we take it for."""
    rules = get_country_rules(country)
    for code in rules.postal_code_examples:
        assert rules.postal_code is None or rules.find_postal_code(code) == code, code
    for region in rules.region_examples:
        assert rules.has_region(region), region
    parts = {"postal_code": rules.postal_code_examples[0] if rules.postal_code_examples else "", "city": "City"}
    region = rules.region_examples[0] if "region" in rules.required else ""
    msgspec.convert(ADDRESS | parts | {"country": country, "region": region}, AddressRequest)
