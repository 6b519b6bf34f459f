"""An executor that does what the name of the first circuit says; importable by worker processes."""

import ctypes
import itertools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, SamplerPubResult
from qiskit.primitives.containers.sampler_pub import SamplerPub
from threadpoolctl import threadpool_info

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.executors import AerExecutor, BaseExecutor
from qiskit_runtime_server.messages.messages import Capabilities


class PanicException(BaseException):
    """Derives from BaseException, as a panic of an extension does."""


class ScriptedExecutor(BaseExecutor):
    """Runs the sampler only: every bit comes out 0, unless the circuit's name is one of those below.

    What a server looks at before it takes a slot into service is simulated.

    Those of `noise` come out at random, so that they cannot be compressed.
    """

    def capabilities(self) -> Capabilities:
        return Capabilities(num_qubits=5, device=f"pid {os.getpid()}")

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        if pubs[0].circuit.name == "selftest":
            return AerExecutor(threads=1).execute_sampler(pubs, options, backend_name)
        return self._play(pubs)

    def _play(self, pubs: Sequence[SamplerPub]) -> PrimitiveResult[Any]:
        match pubs[0].circuit.name:
            case "sleep" | "nap" as name:
                time.sleep(60 if name == "sleep" else 1)
            case "hold the interpreter lock":
                ctypes.PyDLL(None).sleep(60)
            case "die" | "abort" as name:
                os.kill(os.getpid(), signal.SIGKILL if name == "die" else signal.SIGABRT)
            case "exit":
                os._exit(3)
            case "hog" | "hoard" as name:
                self._hoard = [np.ones(2**24) for _ in range(2**12 if name == "hog" else 2)]
                assert name == "hoard", "all arrays fitted into memory"
            case "stumble" | "panic" as name:
                raise PanicException if name == "panic" else RuntimeError("a plug-in's own mistake")
            case "refuse":
                raise InvalidInputError("not like this")
            case "hang" | "end in time" as name:
                with self.time_limit(0.3):
                    ctypes.PyDLL(None).sleep(60 if name == "hang" else 0)
                time.sleep(0.6)
            case "count threads":
                threads = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
                return PrimitiveResult([], metadata={"threads": threads})
            case name if name.startswith("large "):
                bits = BitArray(large_bits(int(name.removeprefix("large "))), 8)
                return PrimitiveResult([SamplerPubResult(DataBin(c=bits))])
        results = []
        for pub in pubs:
            bits = pub.circuit.num_clbits
            shape = (*pub.shape, pub.shots or 1, -(-bits // 8))
            array: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
            if pub.circuit.name == "noise":
                array = np.random.default_rng(1).integers(256, size=shape, dtype=np.uint8)
            registers = {register.name: BitArray(array, bits) for register in pub.circuit.cregs}
            results.append(SamplerPubResult(DataBin(**registers, shape=pub.shape)))
        return PrimitiveResult(results)


def server_pid() -> int:
    """Return the id of the process that asked for this worker, which is not the one that it was forked from."""
    server = parent_process()
    assert server is not None
    return server.pid or 0


def large_bits(size: int) -> NDArray[np.uint8]:
    """Return so many random shots of 8 bits, always the same."""
    return np.random.default_rng(size).integers(0, 256, (size, 1), dtype=np.uint8)


class AbortingExecutor(ScriptedExecutor):
    """Comes up, and aborts when a job's device is looked at, as a decoder's mistake would before anything is run."""

    _up = False

    def capabilities(self) -> Capabilities:
        if self._up:
            os.abort()
        self._up = True
        return super().capabilities()


class GreedyExecutor(ScriptedExecutor):
    """Plays code that a client got to run, and that takes what no limit of the kernel is about."""

    def _play(self, pubs: Sequence[SamplerPub]) -> PrimitiveResult[Any]:
        match pubs[0].circuit.name:
            case "start threads without end":
                # Of a size that the memory of a slot has thousands of.
                threading.stack_size(2**15)
                while True:
                    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            case "write files without end":
                for number in itertools.count():
                    Path(tempfile.gettempdir(), f"file-{number}").touch()
        return super()._play(pubs)


class GpuExecutor(ScriptedExecutor):
    """Says that it has a GPU."""

    def capabilities(self) -> Capabilities:
        return structs.replace(super().capabilities(), compute_capability="9.0")


class BrokenExecutor(ScriptedExecutor):
    """Does not come up."""

    def capabilities(self) -> Capabilities:
        raise RuntimeError("the simulator's licence has expired")
