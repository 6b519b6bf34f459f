"""Users of a server in trouble: real clients, which send jobs and insist on their results."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from ibm_cloud_sdk_core import ApiException
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit_ibm_runtime import RuntimeJobV2, SamplerV2
from qiskit_ibm_runtime.exceptions import IBMError, RuntimeInvalidStateError, RuntimeJobFailureError
from requests import RequestException

from qiskit_runtime_server.client import connect

SHOTS = 16
BITS = 12
# How many jobs a user has under way.
_BATCH = 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A job whose result nobody else's has.

    Attributes:
        number: Its result, in binary.
        seconds: How long it takes.
    """

    number: int
    seconds: int = 0

    @property
    def name(self) -> str:
        """What the executor writes down when it starts."""
        return f"nap {self.seconds} {self.number}"

    @property
    def counts(self) -> dict[str, int]:
        """The only correct result."""
        return {format(self.number, f"0{BITS}b"): SHOTS}

    def circuit(self) -> QuantumCircuit:
        """Return what is to be run on an ideal device."""
        circuit = QuantumCircuit(BITS, name=self.name)
        for bit in range(BITS):
            if self.number >> bit & 1:
                circuit.x(bit)
        circuit.measure_all()
        return circuit


class Customer(threading.Thread):
    """Runs errands through one account.

    Attributes:
        acknowledged: The errand of each job whose id was answered.
        refusals: Why the client gave up a call, which was then made again.
        problems: What must not happen.
    """

    def __init__(self, url: str, account: str, backend: str, errands: Iterable[Errand], *, patience: float) -> None:
        super().__init__(daemon=True, name=account)
        self.acknowledged: dict[str, Errand] = {}
        self.refusals: Counter[str] = Counter()
        self.problems: list[str] = []
        self._url = url
        self._backend = backend
        self._errands = iter(errands)
        self._deadline = time.monotonic() + patience

    def run(self) -> None:
        """Send some, fetch their results, and so on."""
        try:
            backend = self._insist(lambda: connect(self._url, self.name).backend(self._backend))
            while batch := list(islice(self._errands, _BATCH)):
                self._run(backend, batch)
        except Exception as error:  # noqa: BLE001 - the thread's top; the report has it
            self.problems.append(f"{self.name} gave up: {error!r}")

    def _run(self, backend: BackendV2, errands: Sequence[Errand]) -> None:
        jobs = [(errand, self._insist(partial(self._submit, backend, errand))) for errand in errands]
        for errand, job in jobs:
            try:
                counts = self._insist(partial(_counts, job))
            except (RuntimeJobFailureError, RuntimeInvalidStateError) as error:
                self.problems.append(f"Job {job.job_id()} failed: {error}")
                continue
            if counts != errand.counts:
                self.problems.append(f"Job {job.job_id()} gave {counts}, not {errand.counts}")

    def _submit(self, backend: BackendV2, errand: Errand) -> RuntimeJobV2:
        job = SamplerV2(mode=backend).run([errand.circuit()], shots=SHOTS)
        self.acknowledged[job.job_id()] = errand
        return job

    def _insist(self, call: Callable[[], T]) -> T:
        """Make a call, again when the client has given it up."""
        while True:
            try:
                return call()
            except (RuntimeJobFailureError, RuntimeInvalidStateError):
                raise
            except (IBMError, RequestException, ApiException) as error:
                if time.monotonic() > self._deadline:
                    raise
                self.refusals[f"{type(error).__name__}: {str(error)[:100]}"] += 1
            time.sleep(0.5)


def _counts(job: RuntimeJobV2) -> dict[str, int]:
    counts: dict[str, int] = job.result()[0].data.meas.get_counts()
    return counts
