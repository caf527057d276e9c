"""A client of the REST API: in the test process, or over HTTP (`tests.http_shopper`)."""

import json
from typing import Any

from tests.engine_driver import capture_payments, run_timers
from tests.http_client import Client, Handler
from tests.http_shopper import ADDRESS as ADDRESS
from tests.http_shopper import PASSWORD as PASSWORD
from tests.http_shopper import Response as Response
from tests.http_shopper import Shopper as Shopper
from tests.http_shopper import parse_response


class InProcessShopper(Shopper):
    """A client in the test process, through Django's test client. The test runs the engine and the timers.

    If the suite runs in five processes, the one that hosts the path responds, over HTTP.
    """

    handler = Handler(enforce_csrf_checks=False)  # shared, since it loads the middleware only once

    def __init__(self) -> None:
        super().__init__("")

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        address = path if path.startswith("/") else f"/api/v1/{path}"
        client = Client(raise_request_exception=False)
        client.handler = self.handler
        response = client.generic(method, address, content or b"", "application/json", headers=sent)
        return parse_response(response.status_code, response.headers.items(), response.content)

    def buy(self, *skus: str, **changes: Any) -> dict[str, Any]:
        """Order one unit of each SKU, and let the engine capture what was authorized. Return the order as it is then."""
        answer = self.order(*skus, **changes)
        assert answer.status in (201, 202), answer.body
        capture_payments()
        run_timers("orders")  # an order whose capture is refused goes on alone
        return self.get_order(answer.body) | {"token": answer.body["token"]}
