"""Keys that processes share and show each other as bearer tokens; two are valid while one takes the other's place."""

import hmac

from pydantic import SecretStr


class SharedKeys:
    """The keys that are accepted.

    Args:
        keys: Those that there are; without any, nobody is accepted.
    """

    def __init__(self, *keys: SecretStr | None) -> None:
        self._expected = [f"Bearer {key.get_secret_value()}".encode() for key in keys if key is not None]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._expected)

    def accept(self, authorization: str) -> bool:
        """Tell whether the header `Authorization` shows one of them, in a time that does not say how nearly."""
        given = authorization.encode()
        return any(hmac.compare_digest(given, expected) for expected in self._expected)
