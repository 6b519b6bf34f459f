"""What keeps a release from being made."""


class ReleaseError(Exception):
    """The release cannot be made; the message says what is wrong, and what to do."""
