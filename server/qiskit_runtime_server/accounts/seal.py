"""Seals what browsers keep for this server: nobody else can read it, or make it."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import timedelta

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Seal:
    """Seals texts for one purpose, with keys that are made of the server's signing keys and the purpose.

    Args:
        purpose: What was sealed for another one does not open.
        keys: Seal with the first one, open with any.
    """

    def __init__(self, purpose: str, *keys: str) -> None:
        self._keys = MultiFernet([Fernet(_key(key, purpose)) for key in keys])

    def closed(self, text: str) -> str:
        """Return a text that no one else can read or change; its characters are those of cookies."""
        return self._keys.encrypt(text.encode()).decode()

    def opened(self, sealed: str, *, within: timedelta) -> str | None:
        """Return what was sealed, if that was here and not longer ago than `within`."""
        try:
            return self._keys.decrypt(sealed.encode(), ttl=int(within.total_seconds())).decode()
        except InvalidToken:
            return None


def _key(key: str, purpose: str) -> bytes:
    return urlsafe_b64encode(hmac.new(key.encode(), purpose.encode(), hashlib.sha256).digest())
