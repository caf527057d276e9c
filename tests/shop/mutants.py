"""Planted bugs that the tests of this folder catch. Run them with `make mutants`."""

from tests.mutants.planted import Mutant

MUTANTS = (
    Mutant(
        name="country_that_does_not_exist",
        what="an order is accepted for a country that does not exist",
        rule="API: the country of an address is in ISO 3166-1",
        module="shop.addresses.address",
        replace="    if country in COUNTRIES:\n        yield from _find_faults_by_country(parts, get_country_rules(country))",
        by='    if country == "DE":\n        yield from _find_faults_by_country(parts, get_country_rules(country))\n    elif country:\n        return',
        caught_by="tests/shop/test_addresses.py::test_every_fault_of_an_address_is_named",
    ),
    Mutant(
        name="postal_code_only_begins_right",
        what="a postal code with more after it is accepted",
        rule="API: a postal code fits the pattern of its country",
        module="shop.addresses.countries",
        replace="self.postal_code.fullmatch(candidate)",
        by="self.postal_code.match(candidate)",
        caught_by="tests/shop/test_addresses.py::test_every_fault_of_an_address_is_named",
    ),
    Mutant(
        name="postal_code_required_everywhere",
        what="no customer can order to a country without postal codes",
        rule="API: the country decides which parts of an address are required",
        module="shop.addresses.countries",
        replace="required=frozenset(required),",
        by='required=frozenset({*required, "postal_code"}),',
        caught_by="tests/shop/test_addresses.py::test_an_address_that_mail_can_be_sent_to_is_accepted",
    ),
    Mutant(
        name="blank_is_content",
        what="an address whose name is a space is accepted",
        rule="API: a required part of an address has content",
        module="shop.addresses.address",
        replace='elif part in ("name", "line1") and not has_content(text):',
        by='elif part in ("name", "line1") and text is None:',
        caught_by="tests/shop/test_addresses.py::test_every_fault_of_an_address_is_named",
    ),
    Mutant(
        name="invisible_character_in_other_scripts",
        what="a change of the writing direction hides in a name",
        rule="API: names and lines have no control characters and no invisible ones",
        module="shop.text",
        replace="return not text.isprintable() and any(",
        by="return text.isascii() and any(",
        caught_by="tests/shop/test_text.py::test_an_invisible_character_is_found",
    ),
)
