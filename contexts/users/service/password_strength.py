"""Strength of passwords: how many guesses an attacker needs who knows common passwords, the account and the shop.

The estimate is that of zxcvbn (Wheeler 2016, "zxcvbn: Low-Budget Password Strength Estimation"): lists of passwords, names
and words in any spelling with digits and signs, repeats, sequences, dates, and neighbours on a keyboard.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain

from django.conf import settings
from django.core.exceptions import ValidationError
from zxcvbn_rs_py import zxcvbn

from contexts.users.interface import MAX_PASSWORD_LENGTH
from contexts.users.models import User

MIN_GUESSES = 10**9  # a tenth of what zxcvbn estimates for ten random characters
# The time of an estimate grows faster than the length: 50 ms for the worst text of this length, 300 ms for 72 characters.
ESTIMATED_CHARACTERS = 32
MIN_WORD_LENGTH = 3
EASY_TO_GUESS = (
    "This password is easy to guess. Use several words that have nothing to do with each other, "
    "with you or with this shop."
)

# Keys of other layouts, and with Shift, as an American keyboard has them: zxcvbn knows walks and words by these.
_SHIFTED_KEYS = str.maketrans('!@#$%^&*()_+{}|:"<>?~', "1234567890-=[]\\;',./`")
_RUSSIAN_KEYS = str.maketrans("йцукенгшщзхъфывапролджэячсмитьбюё", "qwertyuiop[]asdfghjkl;'zxcvbnm,.`")
_GERMAN_KEYS = str.maketrans("yzöäü", "zy;'[")
_FRENCH_KEYS = str.maketrans("aqwzm", "qazw;")


class MaximumLengthValidator:
    """Refuse a password that the sign-in would not accept: too long, or no valid Unicode."""

    def validate(self, password: str, user: User | None = None) -> None:
        """Raise ValidationError if the password has more than MAX_PASSWORD_LENGTH characters, or a surrogate or NUL."""
        if len(password) > MAX_PASSWORD_LENGTH:
            raise ValidationError(
                f"This password is too long. It must contain at most {MAX_PASSWORD_LENGTH} characters."
            )
        if re.search("[\0\ud800-\udfff]", password):
            raise ValidationError("This password contains a character that cannot be entered when you sign in.")

    def get_help_text(self) -> str:
        """Return the rule in words."""
        return f"Your password must contain at most {MAX_PASSWORD_LENGTH} characters."


class GuessesValidator:
    """Refuse a password that can be guessed."""

    def validate(self, password: str, user: User | None = None) -> None:
        """Raise ValidationError if fewer than MIN_GUESSES guesses are expected to find the password."""
        words = sorted(_list_known_words(user), key=len, reverse=True)
        text = unicodedata.normalize("NFKC", re.sub("[\ud800-\udfff]", "", password))
        for reading in _list_readings(text, words):
            if not _has_min_guesses(reading, words):
                raise ValidationError(_explain(text, words))

    def get_help_text(self) -> str:
        """Return the rule in words."""
        return "Your password must not be easy to guess."


def _list_known_words(user: User | None) -> set[str]:
    """Return the words that an attacker tries first: those of the account, the names of the shop, PASSWORD_KNOWN_WORDS."""
    texts = [*settings.PASSWORD_KNOWN_WORDS, settings.SITE_HOST, "satsuma", "shop", "store"]
    texts += [user.email, user.email.partition("@")[0], user.full_name] if user else []
    folded = [unicodedata.normalize("NFKC", text).lower() for text in texts]
    words = chain(folded, *(re.findall(r"[^\W\d_]+|\d{4,}", text) for text in folded))
    return {word for word in words if len(word) >= MIN_WORD_LENGTH}


def _list_readings(password: str, words: list[str]) -> Iterator[str]:
    """List the password, what is left of it without the known words, and what its keys are on other keyboards."""
    keys = password.lower().translate(_SHIFTED_KEYS).translate(_RUSSIAN_KEYS)
    rest = re.sub("|".join(map(re.escape, words)), "", password, flags=re.IGNORECASE)
    yield from dict.fromkeys((password, rest, keys, keys.translate(_GERMAN_KEYS), keys.translate(_FRENCH_KEYS)))


def _has_min_guesses(text: str, words: Iterable[str]) -> bool:
    """Return whether either the first or the next ESTIMATED_CHARACTERS take MIN_GUESSES."""
    parts = (text[:ESTIMATED_CHARACTERS], text[ESTIMATED_CHARACTERS : 2 * ESTIMATED_CHARACTERS])
    return any(zxcvbn(part, list(words)).guesses >= MIN_GUESSES for part in parts if part)


def _explain(text: str, words: Iterable[str]) -> str:
    """Return what is wrong with a password, with the warning of zxcvbn if it has one, and what to do."""
    feedback = zxcvbn(text[:ESTIMATED_CHARACTERS], list(words)).feedback
    warning = feedback.warning if feedback else None
    return f"{EASY_TO_GUESS} {warning}" if warning else EASY_TO_GUESS
