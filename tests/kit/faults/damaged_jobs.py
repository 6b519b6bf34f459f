"""Runs jobs with damage in them in a process that they may kill, and tells what became of each.

`python -m kit.faults.damaged_jobs` goes on for ever, from the number that it is given (0 otherwise), and prints what is
found: jobs that killed their process, that took long or much memory, or failed for a mistake of ours.
"""

import itertools
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from kit import environment

MEMORY_BYTES = 2**30
"""What a job may use; a slot of a worker is hardly smaller."""
LONG_SECONDS = 1.0
LARGE_BYTES = 400 * 2**20
"""A job of a few kilobytes needs less, whatever is said in it."""
_START_SECONDS = 150.0
_HANGS_SECONDS = 30.0
_SIMULATION_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a job.

    Attributes:
        how: `completed`, `refused`, `simulated too long` (what is asked for may never end), `failed` for a mistake of
            ours, `died` or `hung`.
        seconds: Of the processor, without what simulations took.
        memory_bytes: More than before, at the most.
        reason: For a user, or where the mistake was.
    """

    number: int
    name: str
    how: str
    seconds: float = 0.0
    memory_bytes: int = 0
    reason: str = ""

    @property
    def is_right(self) -> bool:
        """Whether a server may be sent this."""
        ended = self.how in {"completed", "refused", "simulated too long"}
        # Learning noise takes its time: circuits are made and models fitted, as many as the job asks for.
        learned = self.name.startswith("noise-learner") and self.how != "refused"
        return ended and (learned or self.seconds < LONG_SECONDS) and self.memory_bytes < LARGE_BYTES


def run_jobs(numbers: range) -> Iterator[Ended]:
    """Run the jobs of these numbers, one after the other, in a process that is started again when it dies."""
    first = numbers.start
    while first < numbers.stop:
        process = subprocess.Popen(
            [sys.executable, "-m", "kit.faults.damaged_jobs", "child", str(first), str(numbers.stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment() | {"OMP_NUM_THREADS": "1"},
        )
        begun: dict[str, Any] | None = None
        with process:
            for line in _lines(process):
                message = json.loads(line)
                begun = message if "how" not in message else None
                if begun is None:
                    first = message["number"] + 1
                    yield Ended(**message)
            process.kill()
            error = process.stderr.read().decode(errors="replace") if process.stderr else ""
        if begun is not None:
            how = "hung" if process.returncode == -signal.SIGKILL else "died"
            yield Ended(**begun, how=how, reason=f"exit code {process.returncode}: {error[:500]}")
            first = begun["number"] + 1
        elif process.returncode != 0:
            raise RuntimeError(error)


def _lines(process: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """Yield what a process writes until it ends or is silent for too long."""
    assert process.stdout is not None
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        # The first line comes when everything is imported.
        limit = _START_SECONDS
        while selector.select(limit):
            limit = _HANGS_SECONDS
            data = os.read(process.stdout.fileno(), 2**16)
            if not data:
                process.wait()
                return
            *lines, buffer = (buffer + data).split(b"\n")
            yield from lines


def read_with_counts(name: str, version: int) -> str:
    """Read a circuit again and again, each time with a large number somewhere else, in a process of its own.

    Returns:
        What went wrong, empty if every file was read or refused.
    """
    ended = subprocess.run(
        [sys.executable, "-u", "-m", "kit.faults.damaged_jobs", "counts", name, str(version)],
        env=environment(),
        capture_output=True,
        check=False,
        text=True,
    )
    last = ended.stdout[-100:]
    return "" if ended.returncode == 0 else f"exit code {ended.returncode} after {last}: {ended.stderr[-2000:]}"


def _counts(name: str, version: int) -> None:
    from kit.faults.damaged_documents import intact  # noqa: PLC0415 - the parent needs nothing of this
    from qiskit_runtime_server.errors import InvalidInputError  # noqa: PLC0415 - as above
    from qiskit_runtime_server.programs.wire import qpy, reading  # noqa: PLC0415 - as above
    from qiskit_runtime_server.worker.child import _limit_memory  # noqa: PLC0415 - as above

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(MEMORY_BYTES)
    data = intact(name, version)
    memory = _peak_of_memory()
    for size, numbers in ((2, (0xFFFF,)), (4, (0xFFFFFFFF, 0x40000000, 0x00800000)), (8, (2**31,))):
        for place, number in itertools.product(range(len(data) - size), numbers):
            sys.stdout.write(f"{number} in {size} bytes at {place}\n")
            damaged = data[:place] + number.to_bytes(size, "big") + data[place + size :]
            begin = time.process_time()
            try:
                with reading.damage("circuit"):
                    qpy.read_circuits(damaged, 1, reading.Reader().announce)
            except InvalidInputError:
                pass
            assert time.process_time() - begin < LONG_SECONDS
    assert _memory("VmHWM") - memory < LARGE_BYTES


class _SimulatedTooLong(Exception):  # noqa: N818 - how a simulation is left
    pass


def _child(first: int, last: int) -> None:
    from kit.faults.damaged_documents import case  # noqa: PLC0415 - the parent needs nothing of this
    from qiskit_runtime_server.worker.child import _limit_memory  # noqa: PLC0415 - as above

    run = _runner()
    _limit_memory(MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, last):
        job = case(number)
        print(json.dumps({"number": number, "name": job.name}), flush=True)
        begin, memory = time.process_time(), _peak_of_memory()
        how, reason, simulated = run(job)
        ended = Ended(
            number=number,
            name=job.name,
            how=how,
            seconds=time.process_time() - begin - simulated,
            memory_bytes=_memory("VmHWM") - memory,
            reason=reason,
        )
        print(json.dumps(asdict(ended)), flush=True)


def _runner() -> Any:  # noqa: ANN401 - a function
    from kit.faults.damaged_documents import Case  # noqa: PLC0415 - see above
    from qiskit_runtime_server.errors import InternalError, JobError  # noqa: PLC0415 - see above
    from qiskit_runtime_server.executors.base import BitTensor, SampleTask  # noqa: PLC0415 - see above
    from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor  # noqa: PLC0415 - see above
    from qiskit_runtime_server.messages.messages import Task  # noqa: PLC0415 - see above
    from qiskit_runtime_server.simulation.statevector.numpy_states import NumPyStates  # noqa: PLC0415 - see above
    from qiskit_runtime_server.worker.run import run_program  # noqa: PLC0415 - see above

    class Executor(CuStateVecExecutor):
        """Stops what never ends: that is no damage, but a circuit as good as any, and the worker's time is limited."""

        seconds = 0.0

        def sample(self, task: SampleTask) -> BitTensor:
            begin = time.process_time()
            signal.setitimer(signal.ITIMER_REAL, _SIMULATION_SECONDS)
            try:
                return super().sample(task)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                self.seconds += time.process_time() - begin

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _SimulatedTooLong

    signal.signal(signal.SIGALRM, stop)
    warnings.simplefilter("ignore")
    executor = Executor(states=NumPyStates(memory_bytes=2**26), precision="double")
    qubits = executor.capabilities().num_qubits
    digest = executor.catalog.get("fake_quantum_sim", ideal_qubits=qubits).digest

    def run(job: Case) -> tuple[str, str, float]:
        executor.seconds = 0.0
        how, reason = tried(job)
        return how, reason, executor.seconds

    def tried(job: Case) -> tuple[str, str]:
        task = Task(
            job_id="job",
            fence=1,
            program_id=job.program,
            backend_name="fake_quantum_sim@custatevec",
            calibration_digest=digest,
            seed=1,
            seconds=60.0,
            params=job.params,
        )
        try:
            run_program(task, executor, lambda _: None)
        except _SimulatedTooLong:
            return "simulated too long", ""
        except InternalError as error:
            return "failed", str(error)
        except JobError as error:
            return "refused", str(error)[:300]
        except BaseException:  # noqa: BLE001 - panics of Rust are no Exceptions; a worker would be gone
            return "failed", traceback.format_exc()[-3000:]
        return "completed", ""

    return run


def _peak_of_memory() -> int:
    """Forget the peak of memory, and return what is used now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def _look_for_more(first: int) -> None:
    for start in itertools.count(first, 1000):
        for ended in run_jobs(range(start, start + 1000)):
            if not ended.is_right:
                print(json.dumps(asdict(ended)), flush=True)
        print(f"{start + 1000 - first} jobs", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        _child(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["counts"]:
        _counts(sys.argv[2], int(sys.argv[3]))
    else:
        _look_for_more(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
