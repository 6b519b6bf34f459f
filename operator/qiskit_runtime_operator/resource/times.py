"""Times that stand in objects: whoever may write those may have written anything."""

from datetime import UTC, datetime


def time_of(text: str) -> datetime | None:
    """Return the time that a text says, or None if it says none.

    The API server takes all spellings of RFC 3339, small letters among them, and some that are none.
    """
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
