"""Which of the client library's tests cannot pass here, and why."""

from typing import Final

CANNOT_PASS: Final[dict[str, str]] = {}
