"""A real JupyterHub in an environment of its own: its REST API, with users whom anybody may be (DummyAuthenticator).

It starts no notebooks, so that nothing stands in front of it: its proxy is one that does nothing.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from kit.ports import held_port

_START_SECONDS = 60.0
_CONFIGURATION = """
from jupyterhub.proxy import Proxy


class NoProxy(Proxy):
    should_start = False

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass

    async def get_all_routes(self):
        return {{}}


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = {port}
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie"
c.JupyterHub.load_groups = {{"students": {{"users": ["alice"]}}}}
c.JupyterHub.services = [
    {{"name": "qiskit-runtime-server"}}, {{"name": "another"}}, {{"name": "tests", "api_token": "{key}"}}
]
c.JupyterHub.load_roles = [
    {{"name": "tests", "scopes": ["admin:users", "tokens", "list:users", "access:services"], "services": ["tests"]}},
    {{"name": "user", "scopes": ["self", "access:services"]}},
]
c.Authenticator.allowed_users = {{"alice", "bob"}}
"""


@dataclass(frozen=True, kw_only=True)
class JupyterHub:
    """A running hub.

    Attributes:
        url: Of its REST API.
        admin: Who may make tokens of its users.
    """

    url: str
    admin: httpx.Client

    def token(self, user: str, scopes: Sequence[str]) -> dict[str, Any]:
        """Return a new token of a user: `token`, and the `id` by which it is revoked."""
        answer = self.admin.post(f"/users/{user}/tokens", json={"scopes": list(scopes)})
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def revoke(self, user: str, made: dict[str, Any]) -> None:
        """Take a token back."""
        self.admin.delete(f"/users/{user}/tokens/{made['id']}").raise_for_status()


@contextmanager
def jupyter_hub(python: Path, folder: Path) -> Iterator[JupyterHub]:
    """Run a hub with the interpreter of its environment."""
    key, configuration, log = secrets.token_hex(16), folder / "hub.py", folder / "hub.log"
    with held_port() as port:
        configuration.write_text(_CONFIGURATION.format(port=port, folder=folder, key=key))
        url = f"http://127.0.0.1:{port}/hub/api"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JUPYTER"))}
        with log.open("w") as output:
            process = subprocess.Popen(
                [python, "-m", "jupyterhub", f"--config={configuration}"],
                cwd=folder,
                env={**inherited, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_for(url, process, log)
            with httpx.Client(base_url=url, headers={"Authorization": f"token {key}"}, timeout=30) as admin:
                yield JupyterHub(url=url, admin=admin)
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())
