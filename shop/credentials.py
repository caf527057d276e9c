"""Credentials between the parts of a shop: passwords of database roles, and keys that sign calls.

All follow from CREDENTIAL_KEY, by purpose. A process that hosts some contexts needs only theirs: `select_credentials` is the
value of `<CONTEXT>_SECRETS`. It has the password of the context's role and that of the role which reads the directory of
moved databases, a key for each other context that it calls, and one for each that calls it.
"""

import hashlib
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass

DIRECTORY = "directory"  # the name of a role
Credentials = dict[str, list[str]]  # by purpose; the present one first, then those of former keys


def derive_credential(key: str, purpose: str) -> str:
    """Derive the credential for a purpose, 64 hexadecimal digits."""
    return hmac.new(key.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def name_role(context: str) -> str:
    """Return the purpose of the password of a database role."""
    return f"role {context}"


def name_calls(caller: str) -> str:
    """Return the purpose of the key of the calls of a context to any other."""
    return f"calls by {caller}"


def name_calls_to(caller: str, callee: str) -> str:
    """Return the purpose of the key of the calls of a context to another one."""
    return f"calls by {caller} to {callee}"


def select_credentials(keys: Sequence[str], context: str, contexts: Collection[str]) -> Credentials:
    """Select what a process that hosts a context needs. `keys`: CREDENTIAL_KEY, then former ones."""
    others = [other for other in contexts if other != context]
    purposes = [
        name_role(context),
        name_role(DIRECTORY),
        *(name_calls_to(context, callee) for callee in contexts),  # to itself: messages through a broker
        *(name_calls_to(other, context) for other in others),
    ]
    return {purpose: [derive_credential(key, purpose) for key in keys] for purpose in purposes}


@dataclass(frozen=True)
class CredentialStore:
    """The credentials of a process: those that it was given, or those that it derives.

    key: CREDENTIAL_KEY. other_keys: former ones, and the next one. default_keys: used without CREDENTIAL_KEY.
    """

    given: Credentials
    key: str
    other_keys: list[str]
    default_keys: list[str]

    def find(self, purpose: str) -> list[str]:
        """Return the credential for a purpose, then those of other keys. Empty: this process was not given it."""
        derived = (derive_credential(key, purpose) for key in self._list_keys())
        return list(dict.fromkeys([*self.given.get(purpose, []), *derived]))

    def find_former_passwords(self, role: str) -> list[str]:
        """Return the passwords that a role may still have: it was created before there was a CREDENTIAL_KEY."""
        return [derive_credential(key, name_role(role)) for key in self.default_keys]

    def build_call_keys(self, caller: str, contexts: Collection[str]) -> dict[str, list[str]]:
        """Build the keys of a context's calls: to any other, and to each if processes may have different credentials."""
        to_any, keys = self.find(name_calls(caller)), {}
        is_pairwise = bool(self.given or self.key)
        if is_pairwise or self.other_keys:
            for callee in contexts:
                to_callee = self.find(name_calls_to(caller, callee))
                keys[name_calls_to(caller, callee)] = [*to_callee, *to_any] if is_pairwise else [*to_any, *to_callee]
        return {caller: to_any, **keys}

    def _list_keys(self) -> list[str]:
        if self.given:
            return self.other_keys
        return [*([self.key] if self.key else self.default_keys), *self.other_keys]
