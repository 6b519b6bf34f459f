"""Asks the apis how busy their executors are."""

import asyncio
import logging
from base64 import b64decode
from collections.abc import Iterable
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import aiohttp

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import ClusterError
from qiskit_runtime_operator.resource.kinds import SECRETS
from qiskit_runtime_operator.resource.names import LOAD_KEY, Key, keys_name
from qiskit_runtime_operator.scaling.load import Load

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 16
_LIMIT: Final = timedelta(seconds=2)
# A thousand pods of each of sixteen executors are less than a megabyte.
_MAX_BYTES: Final = 1 << 20


class LoadReader:
    """The load of each RuntimeServer whose api answers.

    Args:
        http: A session of its own.
        cluster: Where the keys are.
        url: Of the load, with `{name}` and `{namespace}` of the RuntimeServer.

    Attributes:
        loads: What was last read.
    """

    def __init__(self, http: aiohttp.ClientSession, cluster: Cluster, url: str) -> None:
        self.loads: dict[Key, Load] = {}
        self._http = http
        self._cluster = cluster
        self._url = url
        self._keys: dict[Key, str] = {}
        self._silent: set[Key] = set()
        self._gate = asyncio.Semaphore(_AT_ONCE)
        # Those that did not answer wait for each other only: each may take the whole limit again.
        self._gate_of_silent = asyncio.Semaphore(_AT_ONCE)

    async def read(self, servers: Iterable[Key]) -> list[Key]:
        """Ask the apis of these RuntimeServers, forget the others, and return those whose load has changed."""
        asked = list(servers)
        read = zip(asked, await asyncio.gather(*map(self.load_of, asked)), strict=True)
        loads = {key: load.after(self.loads.get(key)) for key, load in read if load is not None}
        changed = [key for key in {*loads, *self.loads} if loads.get(key) != self.loads.get(key)]
        self.loads.clear()
        self.loads.update(loads)
        self._silent.intersection_update(asked)
        self._keys = {key: value for key, value in self._keys.items() if key in loads}
        return changed

    async def load_of(self, key: Key) -> Load | None:
        """Return the load, or None if nobody answers; that is for the probes of the pods to tell."""
        async with self._gate_of_silent if key in self._silent else self._gate:
            try:
                load = await self._ask(
                    key, self._url.format(name=key.name, namespace=key.namespace), await self._key_of(key)
                )
            except (ClusterError, aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
                if key not in self._silent:
                    logger.info("The load of %s/%s cannot be read: %s", *key, str(error) or type(error).__name__)
                self._silent.add(key)
                return None
            self._silent.discard(key)
            return load

    async def _ask(self, key: Key, url: str, load_key: str) -> Load | None:
        limit = aiohttp.ClientTimeout(total=_LIMIT.total_seconds())
        headers = {"Authorization": f"Bearer {load_key}"}
        # No redirects: the operator goes nowhere that an api sends it to.
        async with self._http.get(url, headers=headers, timeout=limit, allow_redirects=False) as answer:
            if answer.status == HTTPStatus.UNAUTHORIZED:
                self._keys.pop(key, None)
            answer.raise_for_status()
            return Load.from_json(await _body(answer))

    async def _key_of(self, key: Key) -> str:
        """Return the key, read once: it does not change as long as it is accepted."""
        if key not in self._keys:
            secret = await self._cluster.get(SECRETS, key.namespace, keys_name(key.name))
            if secret is None:
                raise KeyError(keys_name(key.name))
            self._keys[key] = b64decode(secret["data"][LOAD_KEY]).decode()
        return self._keys[key]


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Return what an api says, of which the operator holds no more than is to be expected.

    Raises:
        ValueError: If it says more.
    """
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > _MAX_BYTES:
            raise ValueError(f"the answer has more than {_MAX_BYTES} bytes")
    return bytes(body)
