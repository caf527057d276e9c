"""A mail server with failure modes, which records every message and every refusal."""

import asyncio
import contextlib
import threading
from email import message_from_bytes, policy
from typing import Any

from ops.console.request_log import RequestLog
from tests.ports import reserve_port

HANG_SECONDS = 6.0  # longer than EMAIL_DATA_TIMEOUT_SECONDS of the shop


class MailServerUnavailable(RuntimeError):
    """The package aiosmtpd is missing; it is one of the test tools (requirements/dev.txt)."""


class MailServer:
    """SMTP on loopback with a mode.

    well: accepts messages. refuses: refuses connections. defers: replies 450. rejects: replies 550. hangs, disconnects: it
    receives the whole message but does not reply.
    """

    def __init__(self, history: RequestLog) -> None:
        self.history = history
        self.port = reserve_port()
        self.mode = "well"
        self.lock = threading.Lock()
        self.controller: Any = None
        self._open()

    def set_mode(self, mode: str) -> None:
        with self.lock:
            self.mode = mode
            if mode == "refuses":
                self._close()
            elif self.controller is None:
                self._open()

    def close(self) -> None:
        with self.lock:
            self._close()

    def _open(self) -> None:
        try:
            from aiosmtpd.controller import Controller
        except ImportError:
            raise MailServerUnavailable(MailServerUnavailable.__doc__) from None
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    def _close(self) -> None:
        if self.controller:
            self.controller.stop()
        self.controller = None

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [responses[0], "250-PIPELINING", *responses[1:]]

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list) -> str:
        answer = {"defers": "450 try again later", "rejects": "550 no such user"}.get(self.mode)
        if answer:
            self._note(address, "", "", answer[:3])
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        outcome = self.mode if self.mode in ("hangs", "disconnects") else "accepted"
        self._note(str(mail["To"]), str(mail["Message-ID"]), str(mail["Subject"]), outcome)
        if outcome == "hangs":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(HANG_SECONDS)
        if outcome != "accepted":
            server.transport.abort()
        return "250 OK"

    def _note(self, to: str, message_id: str, subject: str, outcome: str) -> None:
        self.history.note("mail", target=to, key=message_id, why=subject, kind=outcome)
