"""Links between the pages of the admin. In a split deployment another process serves the page, so links are plain paths."""

from urllib.parse import quote as quote_url
from urllib.parse import urlencode

from django.contrib.admin.utils import quote as quote_key
from django.utils.html import format_html
from django.utils.safestring import SafeString

ADMIN_ROOT = "/admin"


def build_object_url(context: str, model: str, pk: object) -> str:
    """Return the path of the page of one object. `model` is the model's name in lower case."""
    return f"{ADMIN_ROOT}/{context}/{model}/{quote_url(quote_key(str(pk)))}/change/"


def build_list_url(context: str, model: str, **query: object) -> str:
    """Return the path of a list, filtered by a query."""
    return f"{ADMIN_ROOT}/{context}/{model}/?{urlencode(query)}"


def link_to_object(context: str, model: str, pk: object, label: object = None) -> SafeString:
    """Return a link to the page of one object, or a hyphen for none."""
    if pk is None or pk == "":
        return format_html("{}", "-")
    return format_html('<a href="{}">{}</a>', build_object_url(context, model, pk), pk if label is None else label)
