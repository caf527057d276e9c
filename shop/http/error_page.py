"""The page of all errors: the `type` of a problem is the address of its entry."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from shop.errors import DomainError, list_error_classes
from shop.http.field_errors import FIELD_ERROR_CODES
from shop.http.read_only import read_only

PRODUCT_PACKAGES = ("shop", "contexts", "config", "ops")


@read_only
def show_errors(request: HttpRequest) -> HttpResponse:
    """Show every error of the API with its meaning and with what a client can do."""
    classes = [cls for cls in list_error_classes() if cls.__module__.split(".")[0] in PRODUCT_PACKAGES]
    context = {"errors": [describe_error(cls) for cls in classes], "field_error_codes": FIELD_ERROR_CODES.items()}
    return render(request, "shop/errors.html", context)


def describe_error(cls: type[DomainError]) -> dict[str, Any]:
    """Describe one error for the page. A fact in its message is shown by its name."""
    explanation = (cls.__doc__ or "").strip().partition("\n")[2]
    return {
        "code": cls.code,
        "status": cls.status,
        "title": cls.build_title(),
        "message": cls.describe_message("⟨{}⟩".format),
        "explanation": " ".join(explanation.split()),
        "remedy": cls.remedy,
        "facts": cls.list_facts(),
    }
