"""HTTP of users."""

from typing import Annotated

import msgspec
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from rest_framework.request import Request

from contexts.users.interface import Profile
from contexts.users.service import accounts, sessions
from contexts.users.service.sessions import Tokens
from shop.rest import ANYONE, CUSTOMER, View, endpoint, respond

Address = Annotated[str, msgspec.Meta(min_length=3, max_length=254, extra_json_schema={"format": "email"})]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256, extra_json_schema={"format": "password"})]
RefreshToken = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
# Without control characters, which would end up in the header of a mail.
Name = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^ *[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$(?!\n)")]

NOT_STORED = {"Cache-Control": "no-store"}  # RFC 6749, 5.1


class Registration(msgspec.Struct):
    """A new account."""

    email: Address
    password: Password
    full_name: Name


class Credentials(msgspec.Struct):
    """Who signs in, and the proof."""

    email: Address
    password: Password


class Refresh(msgspec.Struct):
    """The refresh token of the last pair."""

    refresh: RefreshToken


class ProfileChange(msgspec.Struct):
    """What is to be changed; what is left out stays."""

    full_name: Name | msgspec.UnsetType = msgspec.UNSET


class KeySet(msgspec.Struct):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, str]]


class UsersView(View):
    """A view of users."""

    context = "users"


class SignedOutView(UsersView):
    """Where a token has no say: a client may send an expired one along while it fetches the next."""

    authentication_classes = []


class Register(SignedOutView):
    @endpoint(who=ANYONE, body=Registration, answers={201: Profile})
    def post(self, request: Request, body: Registration) -> Profile:
        """Open an account.

        The e-mail address is kept in lower case; one that has an account is refused with `users.email_taken`.
        """
        return accounts.register(email=body.email, password=body.password, full_name=body.full_name)


class Token(SignedOutView):
    @endpoint(who=ANYONE, body=Credentials, answers={200: Tokens}, key="none")
    def post(self, request: Request, body: Credentials) -> HttpResponse:
        """Sign in.

        Failures are counted for the account and for the client's address: too many are answered 429.
        """
        address = request.META.get("REMOTE_ADDR", "")  # settled by config/proxies.py; never what a client writes
        tokens = sessions.sign_in(email=body.email, password=body.password, address=address)
        return respond(tokens, headers=NOT_STORED)


class TokenRefresh(SignedOutView):
    @endpoint(who=ANYONE, body=Refresh, answers={200: Tokens}, key="none")
    def post(self, request: Request, body: Refresh) -> HttpResponse:
        """Get the next pair of tokens.

        A refresh token is good for one use. Whoever brings it a second time ends the session, for everybody.
        """
        return respond(sessions.refresh(body.refresh), headers=NOT_STORED)


class Logout(SignedOutView):
    @endpoint(who=ANYONE, body=Refresh, answers={204: None}, key="none")
    def post(self, request: Request, body: Refresh) -> None:
        """Sign out.

        The session's refresh token is worthless from now on, its access token when it has run out.
        """
        sessions.logout(body.refresh)


class Me(UsersView):
    @endpoint(who=CUSTOMER, answers={200: Profile})
    def get(self, request: Request) -> Profile:
        """Your account."""
        return accounts.profile(request.user.id)

    @endpoint(who=CUSTOMER, body=ProfileChange, answers={200: Profile})
    def patch(self, request: Request, body: ProfileChange) -> Profile:
        """Change your account."""
        if body.full_name is msgspec.UNSET:
            return accounts.profile(request.user.id)
        return accounts.rename(request.user.id, full_name=body.full_name)


class Keys(SignedOutView):
    @endpoint(who=ANYONE, answers={200: KeySet})
    def get(self, request: Request) -> HttpResponse:
        """The public keys that access tokens are verified with (JWKS)."""
        return respond(settings.JWKS, headers={"Cache-Control": "public, max-age=300"})


urlpatterns = [
    path("auth/register", Register.as_view()),
    path("auth/token", Token.as_view()),
    path("auth/token/refresh", TokenRefresh.as_view()),
    path("auth/logout", Logout.as_view()),
    path("users/me", Me.as_view()),
]
site_urlpatterns = [path(".well-known/jwks.json", Keys.as_view())]
