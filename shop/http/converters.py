"""Path converters of several contexts. Importing this module registers them."""

from django.urls import register_converter

from shop import sizes


class SkuConverter:
    """Match a SKU in a URL path."""

    regex = rf"[A-Za-z0-9._-]{{1,{sizes.SKU_LENGTH}}}"

    def to_python(self, value: str) -> str:
        return value

    to_url = to_python


register_converter(SkuConverter, "sku")
