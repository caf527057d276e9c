"""REST API of users: registration, sign-in, the caller's profile, public keys."""

from typing import Annotated, cast
from uuid import UUID

import msgspec
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from rest_framework.request import Request

from contexts.users.interface import MAX_PASSWORD_LENGTH, Profile, SignInFailed, WeakPassword
from contexts.users.service import accounts, sessions
from contexts.users.service.sessions import RefreshRefused, Tokens
from shop import sizes
from shop.errors import Overloaded, TooManyRequests
from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, CUSTOMER, Text, View, endpoint, respond
from shop.http.tokens import Caller

EmailAddress = Annotated[
    str,
    msgspec.Meta(
        min_length=3, max_length=sizes.EMAIL_LENGTH, extra={"content": "email"}, extra_json_schema={"format": "email"}
    ),
]
Password = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_PASSWORD_LENGTH,
        extra={"content": "secret"},
        extra_json_schema={"format": "password"},
    ),
]
RefreshToken = Annotated[str, msgspec.Meta(min_length=1, max_length=128, extra={"content": "secret"})]

REGISTRATION_ERRORS = (accounts.EmailInvalid, WeakPassword, accounts.EmailTaken, Overloaded)
NO_STORE_HEADERS = {"Cache-Control": "no-store"}  # RFC 6749, 5.1


class Registration(RequestBody):
    """A new account."""

    email: EmailAddress
    password: Password
    full_name: Text


class Credentials(RequestBody):
    """E-mail address and password."""

    email: EmailAddress
    password: Password


class Refresh(RequestBody):
    """The refresh token of the current token pair."""

    refresh: RefreshToken


class ProfileChange(RequestBody):
    """Changes of the profile. Omitted fields keep their value."""

    full_name: Text | msgspec.UnsetType = msgspec.UNSET


class KeySet(msgspec.Struct):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, str]]


class UsersView(View):
    """Base of the views of users."""

    context = "users"


class UnauthenticatedView(UsersView):
    """Base of views that ignore the access token. A client may send an expired one while it refreshes its tokens."""

    authentication_classes = []


class Register(UnauthenticatedView):
    @endpoint(
        access=ANYONE, body=Registration, responses={201: Profile}, errors=REGISTRATION_ERRORS, limits=("register",)
    )
    def post(self, request: Request, body: Registration) -> Profile:
        """Create an account.

        The e-mail address is stored in lower case. If it already has an account, the error is `users.email_taken`.
        """
        return accounts.register(email=body.email, password=body.password, full_name=body.full_name)


class Token(UnauthenticatedView):
    @endpoint(
        access=ANYONE,
        body=Credentials,
        responses={200: Tokens},
        errors=(SignInFailed, TooManyRequests, Overloaded),
        idempotency="none",
    )
    def post(self, request: Request, body: Credentials) -> HttpResponse:
        """Sign in.

        Failed attempts are counted per account and per client address. Too many of them get a 429 response.
        """
        address = request.META.get("REMOTE_ADDR", "")  # set by shop/http/proxies.py, never from a client's header
        tokens = sessions.sign_in(email=body.email, password=body.password, address=address)
        return respond(tokens, headers=NO_STORE_HEADERS)


class TokenRefresh(UnauthenticatedView):
    @endpoint(
        access=ANYONE,
        body=Refresh,
        responses={200: Tokens},
        errors=(RefreshRefused,),
        idempotency="none",
        limits=("refresh",),
    )
    def post(self, request: Request, body: Refresh) -> HttpResponse:
        """Refresh the tokens.

        A refresh token can be used once. For a few seconds a repeat returns the same refresh token, so that tabs that
        refresh at the same time, or a client that lost the response, stay signed in. Using it later, or after its
        successor was used, revokes the session and all its tokens.
        """
        return respond(sessions.refresh(body.refresh), headers=NO_STORE_HEADERS)


class Logout(UnauthenticatedView):
    @endpoint(access=ANYONE, body=Refresh, responses={204: None}, idempotency="none")
    def post(self, request: Request, body: Refresh) -> None:
        """Sign out.

        The session's refresh token is revoked at once. Its access token stays valid until it expires.
        """
        sessions.sign_out(body.refresh)


class Me(UsersView):
    @endpoint(access=CUSTOMER, responses={200: Profile})
    def get(self, request: Request) -> Profile:
        """Get your account."""
        return accounts.get_profile(_get_user_id(request))

    @endpoint(access=CUSTOMER, body=ProfileChange, responses={200: Profile})
    def patch(self, request: Request, body: ProfileChange) -> Profile:
        """Update your account."""
        if body.full_name is msgspec.UNSET:
            return accounts.get_profile(_get_user_id(request))
        return accounts.rename(_get_user_id(request), full_name=body.full_name)


def _get_user_id(request: Request) -> UUID:
    return cast(Caller, request.user).id  # access=CUSTOMER has refused callers without a token


class Keys(UnauthenticatedView):
    @endpoint(access=ANYONE, responses={200: KeySet})
    def get(self, request: Request) -> HttpResponse:
        """Get the public keys that verify access tokens (JWKS)."""
        return respond(settings.JWKS, headers={"Cache-Control": "public, max-age=300"})


urlpatterns = [
    path("auth/register", Register.as_view()),
    path("auth/token", Token.as_view()),
    path("auth/token/refresh", TokenRefresh.as_view()),
    path("auth/logout", Logout.as_view()),
    path("users/me", Me.as_view()),
]
site_urlpatterns = [path(".well-known/jwks.json", Keys.as_view())]
