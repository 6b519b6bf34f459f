"""The Secret with the keys of a RuntimeServer: made once, and changed in two steps when somebody asks for other keys.

Whoever shows a key that the other side does not know is refused, and pods get to know a new one only when they start.
So the Secret holds two of each kind, both of which every pod accepts, and the order is:

1. The next keys are put beside those in use. All pods are rolled: from now on each of them accepts both.
2. The two change places. All pods are rolled again, and use the next keys. The former ones are still accepted, from
   pods that are not rolled yet, and for access tokens that they signed.

A step is taken when no pod is left that has not taken the one before, not even one that is about to end. The former
keys are forgotten by the first step of the next change. What asked for the last change, and how far it has got, is
written into the Secret together with the keys, so that an operator that is ended in between loses nothing.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from qiskit_runtime_operator.durations import Duration
from qiskit_runtime_operator.render.metadata import instance_selector, metadata
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import KEYS, KEYS_ANNOUNCED, KEYS_CHANGED_AT, ROTATE_KEYS, also, keys_name
from qiskit_runtime_operator.resource.times import time_of

_BYTES: Final = 32
_LIFETIME: Final = "QRS_ACCESS_TOKEN_LIFETIME"
_USUAL_LIFETIME: Final = timedelta(hours=1)
_DURATION: Final[TypeAdapter[timedelta]] = TypeAdapter(Duration)


def keys_secret(server: RuntimeServer, random: Callable[[int], str]) -> Manifest:
    """Return the Secret with the keys of the api's tokens, of its executors, and of its load.

    It goes when the RuntimeServer goes: access tokens are then worth nothing, and the tokens of users are elsewhere.

    Args:
        server: The owner.
        random: Returns text that holds so many bytes of randomness, as `secrets.token_urlsafe` does.
    """
    about = metadata(server, keys_name(server.name), instance_selector(server))
    # Keys that were made a moment ago need not be changed.
    asked = {} if server.rotate_keys is None else {"annotations": {ROTATE_KEYS: server.rotate_keys}}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {**about, **asked},
        "data": {name: _encoded(random(_BYTES)) for name in KEYS},
    }


def whole(secret: Manifest, random: Callable[[int], str]) -> Manifest | None:
    """Return the Secret with new keys in place of those that somebody has removed; None if no needed one is missing.

    Args:
        secret: What is there.
        random: See `keys_secret`.
    """
    data = secret.get("data", {})
    announced = KEYS_ANNOUNCED in secret["metadata"].get("annotations", {})
    needed = (*KEYS, *map(also, KEYS)) if announced else KEYS
    missing = {name: _encoded(random(_BYTES)) for name in needed if not data.get(name)}
    return {**secret, "data": {**data, **missing}} if missing else None


def keys_checksum(secret: Manifest) -> str:
    """Return what changes when the keys do, and says nothing about them: each has 256 random bits."""
    data = secret.get("data", {})
    return hashlib.sha256("\n".join(f"{name}={data[name]}" for name in sorted(data)).encode()).hexdigest()


def next_step_is_due(annotations: Mapping[str, str], server: RuntimeServer, now: datetime) -> bool:
    """Tell whether the keys are to be changed, or are being changed; the pods may not be ready for that step yet.

    A change does not begin while access tokens are valid that the former keys have signed, which it would forget.

    Args:
        annotations: Of the Secret.
        server: Its owner.
        now: The time.
    """
    if KEYS_ANNOUNCED in annotations:
        return True
    if server.rotate_keys in (None, annotations.get(ROTATE_KEYS)):
        return False
    changed = time_of(annotations.get(KEYS_CHANGED_AT, ""))
    return changed is None or now - changed >= _access_token_lifetime(server)


def next_step(secret: Manifest, server: RuntimeServer, random: Callable[[int], str], now: datetime) -> Manifest:
    """Return the Secret after the step that is due; all pods have the keys that it holds now."""
    annotations, data = dict(secret["metadata"].get("annotations", {})), secret["data"]
    if KEYS_ANNOUNCED in annotations:
        del annotations[KEYS_ANNOUNCED]
        annotations[KEYS_CHANGED_AT] = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {name: data[also(name)] for name in KEYS} | {also(name): data[name] for name in KEYS}
    else:
        annotations |= {ROTATE_KEYS: str(server.rotate_keys), KEYS_ANNOUNCED: "true"}
        keys = {also(name): _encoded(random(_BYTES)) for name in KEYS}
    return {
        **secret,
        "metadata": {**secret["metadata"], "annotations": annotations},
        "data": {**data, **keys},
    }


def _access_token_lifetime(server: RuntimeServer) -> timedelta:
    """Return how long an access token is valid, and so long after the last one was signed with former keys."""
    said: Any = server.spec.api.settings.get(_LIFETIME)
    if said is not None:
        # An api with a setting that makes no sense does not start.
        with suppress(ValidationError):
            return _DURATION.validate_python(said)
    return _USUAL_LIFETIME


def _encoded(key: str) -> str:
    return b64encode(key.encode()).decode()
