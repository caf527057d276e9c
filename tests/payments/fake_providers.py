"""Providers with faults: they pause, do not respond, or refuse. All keep the state of the sandbox."""

import threading
from collections.abc import Callable
from typing import Any

from contexts.payments.providers import ProviderResponse, ProviderStatus
from contexts.payments.providers.sandbox import Sandbox
from shop.errors import Unavailable


class PausedSandbox(Sandbox):
    """A sandbox that pauses the first call of one kind, before or after its effect, until `resume` is set."""

    def __init__(self, call: str, *, after: bool) -> None:
        self.call, self.after = call, after
        self.call_reached, self.resume = threading.Event(), threading.Event()

    def _pause(self, call: str, do: Callable[[], ProviderResponse]) -> ProviderResponse:
        if call != self.call or self.call_reached.is_set():
            return do()
        response = do() if self.after else None
        self.call_reached.set()
        assert self.resume.wait(20)
        return response or do()

    def confirm(self, **arguments: Any) -> ProviderResponse:
        return self._pause("confirm", lambda: Sandbox.confirm(self, **arguments))

    def retrieve(self, **arguments: Any) -> ProviderResponse:
        return self._pause("retrieve", lambda: Sandbox.retrieve(self, **arguments))

    def capture(self, **arguments: Any) -> ProviderResponse:
        return self._pause("capture", lambda: Sandbox.capture(self, **arguments))


class SilentSandbox(Sandbox):
    """A sandbox that executes every call, but does not respond to the first ones of some kinds.

    silent_calls: how many calls of each kind get no response.
    """

    def __init__(self, **silent_calls: int) -> None:
        self.silent_calls = silent_calls

    def _answer(self, call: str, response: ProviderResponse) -> ProviderResponse:
        if self.silent_calls.get(call, 0) > 0:
            self.silent_calls[call] -= 1
            raise Unavailable(what="The provider")
        return response

    def retrieve(self, **arguments: Any) -> ProviderResponse:
        return self._answer("retrieve", super().retrieve(**arguments))

    def capture(self, **arguments: Any) -> ProviderResponse:
        return self._answer("capture", super().capture(**arguments))

    def cancel(self, **arguments: Any) -> ProviderResponse:
        return self._answer("cancel", super().cancel(**arguments))

    def refund(self, **arguments: Any) -> ProviderResponse:
        return self._answer("refund", super().refund(**arguments))


class RefusingSandbox(Sandbox):
    """A sandbox that definitely refuses refunds while `refuses` is set."""

    refuses = True

    def refund(self, **arguments: Any) -> ProviderResponse:
        if self.refuses:
            return ProviderResponse(ProviderStatus.REFUSED, "account_closed")
        return super().refund(**arguments)
