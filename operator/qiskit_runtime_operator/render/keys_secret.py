"""The Secret that is made once for a RuntimeServer, and never again: what cannot come from a pure function."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from typing import Final

from qiskit_runtime_operator.render.metadata import instance_selector, metadata
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import EXECUTOR_KEY, LOAD_KEY, SIGNING_KEY, keys_name

_BYTES: Final = 32


def keys_secret(server: RuntimeServer, random: Callable[[int], str]) -> Manifest:
    """Return the Secret with the keys of the api's tokens, of its executors, and of its load.

    It goes when the RuntimeServer goes: access tokens are then worth nothing, and the tokens of users are elsewhere.

    Args:
        server: The owner.
        random: Returns text that holds so many bytes of randomness, as `secrets.token_urlsafe` does.
    """
    keys = {name: random(_BYTES) for name in (SIGNING_KEY, EXECUTOR_KEY, LOAD_KEY)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": metadata(server, keys_name(server.name), instance_selector(server)),
        "data": {name: b64encode(key.encode()).decode() for name, key in keys.items()},
    }


def keys_checksum(secret: Manifest) -> str:
    """Return what changes when the keys do, and says nothing about them: each has 256 random bits."""
    data = secret.get("data", {})
    return hashlib.sha256("\n".join(f"{name}={data[name]}" for name in sorted(data)).encode()).hexdigest()
