"""A mail server of somebody else's, which has its moods, and keeps a log of all that it saw."""

import asyncio
import contextlib
import threading
from email import message_from_bytes, policy
from typing import Any

from config.soak.history import History
from config.soak.supervisor import free_port

HANGING = 6.0  # seconds, longer than the shop waits


class NoMailServer(RuntimeError):
    """The package aiosmtpd is missing; it is one of the test tools (requirements/dev.txt)."""


class MailServer:
    """SMTP on loopback. Its moods: well, refuses (connections), defers (450), rejects (550), hangs, breaks off.

    In the last two it has the whole letter, and does not say so.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.port = free_port()
        self.mood = "well"
        self.lock = threading.Lock()
        self.controller: Any = None
        self._open()

    def set_mood(self, mood: str) -> None:
        with self.lock:
            self.mood = mood
            if mood == "refuses":
                self._shut()
            elif self.controller is None:
                self._open()

    def close(self) -> None:
        with self.lock:
            self._shut()

    def _open(self) -> None:
        try:
            from aiosmtpd.controller import Controller
        except ImportError:
            raise NoMailServer(NoMailServer.__doc__) from None
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self.controller.start()

    def _shut(self) -> None:
        if self.controller:
            self.controller.stop()
        self.controller = None

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list) -> str:
        answer = {"defers": "450 come back later", "rejects": "550 nobody here"}.get(self.mood)
        if answer:
            self._note(address, "", "", answer[:3])
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        letter = message_from_bytes(envelope.content, policy=policy.default)
        mood = self.mood if self.mood in ("hangs", "breaks off") else "taken"
        self._note(str(letter["To"]), str(letter["Message-ID"]), str(letter["Subject"]), mood)
        if mood == "hangs":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(HANGING)
        if mood != "taken":
            server.transport.abort()
        return "250 OK"

    def _note(self, to: str, message_id: str, subject: str, outcome: str) -> None:
        self.history.note("mail", target=to, key=message_id, why=subject, kind=outcome)
