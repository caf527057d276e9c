"""Which paths accept POST."""

from collections.abc import Iterable

from django.urls import Resolver404, resolve


def find_unknown_posts(paths: Iterable[str]) -> list[str]:
    """Return the paths that lead to no view that accepts POST."""

    def is_known(path: str) -> bool:
        try:
            view = resolve(path).func
        except Resolver404:
            return False
        return hasattr(getattr(view, "cls", None), "post") or path.startswith("/admin/")

    return [path for path in paths if not is_known(path)]
