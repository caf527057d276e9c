"""What the test process answers to the five: the fakes that a test puts in the place of providers and of contexts."""

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
from shop import errors, remote, services
from shop.transactions import refuse
from tests.shop.wire import Server


class Outside:
    """A server at `url`, in this process."""

    def __init__(self, key: str) -> None:
        self.key, self.served = key, {}
        self.server = Server()
        self.server.set_app(self._answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def serve(self, context: str) -> None:
        """Answer for a context with what is bound to its name now; and go on to, for calls that are made once more."""
        self.served |= services.served((context,))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        try:
            if not environ["PATH_INFO"].startswith("/providers/"):
                return remote.application(self.served)(environ, start_response)
            return self._ask_provider(environ, start_response)
        finally:
            connections.close_all()  # this thread's

    def _ask_provider(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        if not hmac.compare_digest(environ.get("HTTP_TESTS_KEY", ""), self.key):
            start_response("403 Forbidden", [])
            return []
        _, _, name, method = environ["PATH_INFO"].split("/")
        if name not in providers.registered:
            start_response("404 Not Found", [])
            return []
        given = pickle.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        answer: Any = None
        try:
            if method != "known":
                answer = getattr(providers.registered[name], method)(**given)
        except errors.DomainError as error:
            answer = (type(error), error.facts)
        start_response("200 OK", [])
        return [pickle.dumps(answer)]


class Provider:
    """In one of the five: a provider that the test process has made up."""

    def __init__(self, name: str) -> None:
        self.name = name

    def known(self) -> bool:
        try:
            self._ask("known")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    def _ask(self, method: str, *only: Any, **arguments: Any) -> Any:
        refuse(f"provider {self.name} was called")
        url = f"{os.environ['TESTS_URL']}/providers/{self.name}/{method}"
        request = urllib.request.Request(url, pickle.dumps(arguments), {"Tests-Key": os.environ["TESTS_KEY"]})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = pickle.loads(response.read())
        if isinstance(answer, tuple):
            cls, facts = answer
            raise cls(**facts)
        return answer

    def reference(self, payment_id: Any) -> str:
        return self._ask("reference", payment_id=payment_id)

    def __getattr__(self, method: str) -> Callable:
        return partial(self._ask, method)


class Providers(dict):
    """In one of the five: the providers of the shop, and those of the test that runs."""

    def get(self, name: str, default: Any = None) -> Any:
        if name in self or not name.startswith("test-"):
            return super().get(name, default)
        provider = Provider(name)
        return provider if provider.known() else default
