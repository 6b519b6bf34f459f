"""Attacks a server in each way, prints what happened and, in full, writes it to docs/reference/attacks.md."""

import argparse
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from attacks import neighbour
from attacks.attempts import ACCOUNTS, ATTEMPTS, FULL, HELD_BYTES, MIB, SHORT, Attempt, Scene, Size
from kit.server.server_process import running_server

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "attacks.md"

MOST_TIMES = 5
"""The goal: how many times as long as on a quiet server another account's calls may take, in 99 of 100."""

MOST_BYTES = 150 * MIB + 2 * HELD_BYTES
"""What the process may take: docs/how-to/retention.md says so."""

INTRODUCTION = """# Attacks

Made by `make attack` on {machine}: a server of its own for each line, with one slot, `QRS_MAX_HELD_BYTES={held} MiB`
and two accounts. One attacks; the other asks for its list of jobs ten times a second. Attacker, user and server share
these cores, so the times are upper bounds; run it again on a machine that does nothing else.

Goals: of 100 calls of the other account 99 take at most {times} times as long as before the attack, and the server
never takes more than {bytes} MiB (150 MiB, and twice what it may hold). The tests of `tests/attacks` are the same in
short; [security](../explanation/security.md) says what is defended and what is not.

| what was tried | how often | what held | p99 before | p99 meanwhile | times | most memory |
|---|---|---|---|---|---|---|
"""

_MOUNT = 'mount -t tmpfs -o "size=$1,mode=700" tmpfs "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Found:
    """What became of an attempt.

    Attributes:
        held: What it showed; None if something else happened than should.
        problem: That, else None.
        quiet: What calls of the other account took before, in seconds, the shortest first.
        meanwhile: The same during the attempt.
        refused: Why calls of the other account failed.
        most_bytes: The most memory of the server's process.
    """

    name: str
    count: int
    held: str | None
    problem: str | None
    quiet: Sequence[float]
    meanwhile: Sequence[float]
    refused: Sequence[str]
    most_bytes: int

    @property
    def times(self) -> float:
        """How many times as long as before."""
        return p99(self.meanwhile) / p99(self.quiet)

    def problems(self) -> Iterator[str]:
        """Yield what did not hold, on a machine on which times mean nothing."""
        if self.problem is not None:
            yield f"{self.name}: {self.problem}"
        if self.refused:
            yield f"{self.name}: {len(self.refused)} calls of the other account failed: {self.refused[0]}"
        if self.most_bytes > MOST_BYTES:
            yield f"{self.name}: the server took {self.most_bytes // MIB} MiB"

    def misses(self) -> Iterator[str]:
        """Yield these problems and, past its goal, what it cost in time."""
        yield from self.problems()
        if self.times > MOST_TIMES:
            yield f"{self.name}: calls of the other account took {self.times:.1f} times as long"


def p99(seconds: Sequence[float]) -> float:
    """Return what 99 of 100 stay below; the shortest comes first."""
    return seconds[min(len(seconds) - 1, len(seconds) * 99 // 100)]


@contextmanager
def watched(url: str, token: str, seconds: float) -> Iterator[dict[str, list[float] | list[str]]]:
    """Have another account call the server meanwhile, for some seconds at least; what is yielded is filled then."""
    found: dict[str, list[float] | list[str]] = {}
    command = [sys.executable, neighbour.__file__, url, token]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("The other account could not call the server.")
        begin = time.monotonic()
        try:
            yield found
            time.sleep(max(0.0, begin + seconds - time.monotonic()))
        finally:
            out, _ = process.communicate("")
    said = json.loads(out)
    found.update(seconds=sorted(said["seconds"]), failures=said["failures"])


def endure(name: str, attempt: Attempt, size: Size, folder: Path) -> Found:
    """Start a server, attack it, and return what happened."""
    tokens, data = folder / "tokens", folder / "data"
    tokens.mkdir()
    data.mkdir()
    attacker, user = secrets.token_hex(16), secrets.token_hex(16)
    (tokens / "attacker").write_text(attacker)
    (tokens / "user").write_text(user)
    (tokens / "accounts.toml").write_text(ACCOUNTS)
    if attempt.prepare is not None:
        attempt.prepare(data, size)
    settings = {
        "QRS_MAX_HELD_BYTES": str(HELD_BYTES),
        "QRS_BACKENDS": "fake_manila",
        # The process that attacks also reads the log: with a line for each refusal it would hold the server up.
        "QRS_LOG_LEVEL": "warning",
        **attempt.settings,
    }
    within = [] if attempt.disk_bytes is None else [*small_disk(), str(attempt.disk_bytes), str(data)]
    with running_server(data, "--executors=aer=1", f"--tokens={tokens}", within=within, **settings) as server:
        scene = Scene(server=server, size=size, attacker=attacker, user=user)
        with watched(server.url, user, size.quiet_seconds) as quiet:
            pass
        server.forget_peak()
        count, held, problem = 0, None, None
        with watched(server.url, user, size.least_seconds) as meanwhile:
            try:
                count, held = attempt.run(scene)
            except Exception as error:  # noqa: BLE001 - whatever it was, it is what the page has to say
                problem = f"{type(error).__name__}: {error}"
        if server.process.poll() is not None:
            problem = f"the server ended with {server.process.returncode}"
        most_bytes = 0 if server.process.poll() is not None else server.memory()[1]
    return Found(
        name=name,
        count=count,
        held=held,
        problem=problem,
        quiet=[float(one) for one in quiet["seconds"]],
        meanwhile=[float(one) for one in meanwhile["seconds"]],
        refused=[str(one) for one in [*quiet["failures"], *meanwhile["failures"]]],
        most_bytes=most_bytes,
    )


def small_disk() -> list[str]:
    """Return a command that runs another, after the size and the folder of a disk, which only that one sees."""
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh"]


def has_small_disks() -> bool:
    """Tell whether the machine lets us have such disks."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run([*small_disk(), str(MIB), folder, "true"], capture_output=True, check=False)
        except FileNotFoundError:
            return False
    return done.returncode == 0


def page(found: Sequence[Found], machine: str) -> str:
    """Return the page about attempts on a machine."""
    lines = []
    for one in found:
        cells = [
            ATTEMPTS[one.name].what,
            f"{one.count:,}",
            one.held or "**did not hold**",
            *(f"{p99(seconds) * 1000:.0f} ms" for seconds in (one.quiet, one.meanwhile)),
            f"{one.times:.1f}",
            f"{one.most_bytes // MIB} MiB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    missed = [f"- {miss}" for one in found for miss in one.misses()]
    introduction = INTRODUCTION.format(
        machine=machine, held=HELD_BYTES // MIB, times=MOST_TIMES, bytes=MOST_BYTES // MIB
    )
    end = ["", *(["Goals that were missed:", "", *missed] if missed else ["All goals were met."])]
    return introduction + "\n".join([*lines, *end]) + "\n"


def machine_here() -> str:
    """Return what this machine is, and how busy it is with other things."""
    load = os.getloadavg()[0]
    shared = f",\nwhich other programs used too (load {load:.1f} at the start)" if load > 1 else ""
    return f"{os.cpu_count()} cores ({platform.machine()}, Linux {platform.release()}){shared}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a fraction of the size, and nothing is written")
    parser.add_argument("names", nargs="*", choices=[*ATTEMPTS, []], help="those to try, by default all")
    options = parser.parse_args()
    machine, found = machine_here(), []
    for name in options.names or ATTEMPTS:
        if ATTEMPTS[name].disk_bytes is not None and not has_small_disks():
            print(f"{name}: left out, as this machine gives us no disk of our own (unshare)")
            continue
        with tempfile.TemporaryDirectory() as folder:
            found.append(endure(name, ATTEMPTS[name], SHORT if options.short else FULL, Path(folder)))
        print(name, found[-1].held or found[-1].problem, flush=True)
    print(page(found, machine))
    if not options.short and not options.names:
        PAGE.write_text(page(found, machine))
    return len([miss for one in found for miss in one.misses()])


if __name__ == "__main__":
    sys.exit(main())
