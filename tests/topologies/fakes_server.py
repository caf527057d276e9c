"""Serve fakes from the test process to the five processes: providers and contexts that a test replaces."""

import hmac
import os
import pickle
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.db import connections

from contexts.payments import providers
from shop import errors
from shop.calls import services
from shop.calls.remote import server
from shop.db.transactions import assert_no_open_transaction
from tests.shop.calls.servers import CountingServer


class FakesServer:
    """A server in the test process, at `url`."""

    def __init__(self, key: str) -> None:
        self.key, self.served = key, {}
        self.server = CountingServer()
        self.server.set_app(self._respond)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def serve(self, context: str) -> None:
        """Serve a context by the class that is bound to it now, also later, for calls that are repeated."""
        self.served |= services.get_served_methods((context,))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _respond(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        try:
            if not environ["PATH_INFO"].startswith("/providers/"):
                return server.create_application(self.served)(environ, start_response)
            return self._call_provider(environ, start_response)
        finally:
            connections.close_all()  # those of this thread

    def _call_provider(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        if not hmac.compare_digest(environ.get("HTTP_TESTS_KEY", ""), self.key):
            start_response("403 Forbidden", [])
            return []
        _, _, name, method = environ["PATH_INFO"].split("/")
        if name not in providers.registry:
            start_response("404 Not Found", [])
            return []
        given = pickle.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        answer: Any = None
        try:
            if method != "known":
                answer = getattr(providers.registry[name], method)(**given)
        except errors.DomainError as error:
            answer = (type(error), error.facts)
        start_response("200 OK", [])
        return [pickle.dumps(answer)]


class RemoteFakeProvider:
    """A provider of the test process, as one of the five processes calls it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def known(self) -> bool:
        try:
            self._call("known")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    def _call(self, method: str, **arguments: Any) -> Any:
        assert_no_open_transaction(f"provider {self.name} was called")
        url = f"{os.environ['TESTS_URL']}/providers/{self.name}/{method}"
        request = urllib.request.Request(url, pickle.dumps(arguments), {"Tests-Key": os.environ["TESTS_KEY"]})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = pickle.loads(response.read())
        if isinstance(answer, tuple):
            cls, facts = answer
            raise cls(**facts)
        return answer

    def reference(self, payment_id: Any) -> str:
        return self._call("reference", payment_id=payment_id)

    def __getattr__(self, method: str) -> Callable:
        return partial(self._call, method)


class ProviderRegistry(dict):
    """The providers of one of the five processes, and those of the running test."""

    def get(self, name: str, default: Any = None) -> Any:
        if name in self or not name.startswith("test-"):
            return super().get(name, default)
        provider = RemoteFakeProvider(name)
        return provider if provider.known() else default
