"""Money in the admin: shown and entered as people write it, with its currency, never in minor units.

    class PriceForm(ConfirmedAmountForm):
        amount_field = "price"
        price = AmountField()

A form sets the currency of its field; the cleaned value is an amount in minor units, as the model stores it.
"""

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.html import format_html
from django.utils.safestring import SafeString

from shop.money import MAX_AMOUNT, Money, parse_money, to_decimal

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    ModelForm = forms.ModelForm

MAX_UNCONFIRMED_CHANGE_PERCENT = 50  # of the amount before


@dataclass(frozen=True)
class AmountColumn:
    """Show a column in minor units as money, in a list or as a read-only field of the admin."""

    name: str
    currency_field: str = "currency"  # of the row, or of a related one: `payment__currency`

    def __call__(self, row: Model) -> str:
        amount = getattr(row, self.name)
        currency = reduce(getattr, self.currency_field.split("__"), row)
        return "" if amount is None else str(Money(amount, str(currency)))

    def __str__(self) -> str:
        return self.name

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def short_description(self) -> str:
        return self.name.replace("_", " ").capitalize()

    @property
    def admin_order_field(self) -> str:
        return self.name


class AmountInput(forms.TextInput):
    """A text field with the currency after it."""

    currency = ""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        field = super().render(name, value, attrs, renderer)
        return format_html('<span class="amount">{} <span class="currency">{}</span></span>', field, self.currency)


class AmountField(forms.Field):
    """An amount as people write it: 98.00 EUR, 98 JPY, 98.000 KWD. The value is in minor units.

    `currency` has to be set before the field is used.
    """

    widget = AmountInput

    def __init__(self, *, currency: str = "", minimum: int = 0, maximum: int = MAX_AMOUNT, **options: Any) -> None:
        super().__init__(**options)
        self.minimum, self.maximum = minimum, maximum  # minor units
        self.currency = currency

    @property
    def currency(self) -> str:
        """Return the currency of the amount, which is shown after the field."""
        return self._currency

    @currency.setter
    def currency(self, code: str) -> None:
        self._currency = self.widget.currency = code
        self.widget.attrs |= {"inputmode": "decimal", "autocomplete": "off"}

    def prepare_value(self, value: Any) -> Any:
        """Return an amount in minor units as people write it, and text as it was typed."""
        return str(to_decimal(Money(value, self.currency))) if isinstance(value, int) else value

    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values or not str(value).strip():
            return None
        try:
            money = parse_money(str(value), self.currency)
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from None
        if not self.minimum <= money.amount <= self.maximum:
            least, most = (Money(limit, self.currency) for limit in (self.minimum, self.maximum))
            raise ValidationError(f"Enter an amount from {least} to {most}.", code="out_of_range")
        return money.amount

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True


class ConfirmationInput(forms.CheckboxInput):
    """A checkbox that sends the value which it confirms. It is never checked initially."""

    def __init__(self, confirmed: str) -> None:
        super().__init__(check_test=lambda _: False)
        self.confirmed = confirmed

    def format_value(self, value: Any) -> str:
        return self.confirmed


class ConfirmationField(forms.BooleanField):
    """A checkbox that appears only when there is something to confirm, and only confirms the value that was shown."""

    widget = forms.HiddenInput

    def __init__(self) -> None:
        super().__init__(required=False, label="")

    def to_python(self, value: Any) -> Any:
        """Return what the checkbox sent: the confirmed value."""
        return value or ""

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return False: a confirmation is not a change of the object."""
        return False


class ConfirmedAmountForm(ModelForm):
    """A form whose amount has to be confirmed if it becomes 0 or changes by more than half. Nothing is saved before."""

    amount_field = "price"
    confirm_amount = ConfirmationField()

    def get_currency(self) -> str:
        """Return the currency of the amount: that of the row, or of a new one."""
        raise NotImplementedError

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if field := self.fields.get(self.amount_field):
            field.currency = self.get_currency()  # type: ignore[attr-defined]  # an AmountField

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        amount = cleaned.get(self.amount_field)
        confirmed = cleaned.pop("confirm_amount", "")
        if amount is None or self.amount_field not in self.changed_data:
            return cleaned
        question = self._find_question(amount)
        if question and confirmed != str(amount):
            self.fields["confirm_amount"].widget = ConfirmationInput(str(amount))
            self["confirm_amount"].label = question
            self.add_error(
                self.amount_field, ValidationError(f"{question} Check the box to confirm.", code="unconfirmed")
            )
        return cleaned

    def _find_question(self, amount: int) -> str:
        before = None if self.instance._state.adding else self.initial.get(self.amount_field)
        currency = self.get_currency()
        new = Money(amount, currency)
        if amount == 0:
            return f"Set it to {new}? It will be free of charge."
        if before is not None and abs(amount - before) * 100 > before * MAX_UNCONFIRMED_CHANGE_PERCENT:
            return (
                f"Change it from {Money(before, currency)} to {new}, by more than {MAX_UNCONFIRMED_CHANGE_PERCENT} %?"
            )
        return ""
