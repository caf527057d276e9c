"""The permissions that staff can have: `<context>.<verb>`, registered by the endpoint or admin page that checks them."""

ALL_PERMISSIONS = "*"

_registered: set[str] = set()


def register_permission(permission: str) -> str:
    """Register a permission that something checks, so that staff can be granted it. Returns it."""
    _registered.add(permission)
    return permission


def get_registered_permissions() -> frozenset[str]:
    """Return the permissions that the imported modules have registered. `shop.contexts` imports those of all contexts."""
    return frozenset(_registered)
