"""Uploads: a file in a multipart form is refused, unless the view declares that it accepts files.

    @accept_uploads(max_files=1, max_bytes=500_000)
    def import_statement(request): ...  # request.FILES has at most one file of this size

`UploadHandler` is the only upload handler of Django. It decides before a byte of a file is kept, also for requests that are
not signed in: Django reads a form before any view runs, to find its CSRF token. Accepted files stay in memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFilesSent
from django.core.files.uploadhandler import MemoryFileUploadHandler

V = TypeVar("V", bound=Callable[..., Any])


class UploadLimits(NamedTuple):
    """The most files of a request, and the most bytes of each."""

    max_files: int
    max_bytes: int


class UploadNotAccepted(SuspiciousOperation):
    """The request contains a file, and its view accepts none."""


def accept_uploads(*, max_files: int = 1, max_bytes: int) -> Callable[[V], V]:
    """Let a view accept files. MAX_BODY_BYTES limits the whole request."""

    def declare(view: V) -> V:
        view.accepted_uploads = UploadLimits(max_files, max_bytes)  # type: ignore[attr-defined]
        return view

    return declare


class UploadHandler(MemoryFileUploadHandler):
    """Keep files in memory, within the limits of the view. Raises UploadNotAccepted, TooManyFilesSent, RequestDataTooBig."""

    files = 0
    received = 0  # bytes of the present file

    def handle_raw_input(self, *args: Any, **kwargs: Any) -> None:
        """Keep files of any size in memory: this class limits them, and the server the whole request."""
        self.activated = True

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin a file, if there may be another one."""
        limits = self._get_limits()
        if limits is None:
            raise UploadNotAccepted("a file was sent to a view that accepts none")
        self.files, self.received = self.files + 1, 0
        if self.files > limits.max_files:
            raise TooManyFilesSent
        super().new_file(*args, **kwargs)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Keep a part of the file, if it is not too large with it."""
        limits = self._get_limits()
        self.received += len(raw_data)
        if limits is None or self.received > limits.max_bytes:
            raise RequestDataTooBig
        super().receive_data_chunk(raw_data, start)

    def _get_limits(self) -> UploadLimits | None:
        match = getattr(self.request, "resolver_match", None)
        view = match.func if match else None
        limits: UploadLimits | None = getattr(getattr(view, "cls", view), "accepted_uploads", None)
        return limits
