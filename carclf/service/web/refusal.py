"""What the service does not do, and the sentence that says so."""

from __future__ import annotations

RETRY_AFTER = 2  # seconds after which it may go better


class Refused(Exception):
    """Becomes an answer with this HTTP status, `{"detail": ...}` of one sentence, and these headers."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def busy(detail: str) -> Refused:
    """A 503 that says when to come again."""
    return Refused(503, detail, {"Retry-After": str(RETRY_AFTER)})


def too_large(detail: str) -> Refused:
    return Refused(413, detail)
