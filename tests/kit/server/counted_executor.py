"""Executors that a test's executor service finds by entry point, and that write down what they start."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.sampler_pub import SamplerPub

from kit.faults.scripted_executor import ScriptedExecutor, server_pid
from qiskit_runtime_server.executors import AerExecutor, BaseExecutor


class _Counted(BaseExecutor):
    """Writes down each start, and takes longer if the first circuit's name says so.

    `nap <seconds>` takes so many seconds longer, `held <word>` as long as `Plugins.let_go` is not called. `warn <word>`
    writes to the log of its process.
    """

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        name = pubs[0].circuit.name
        starts = Path(os.environ["STARTS"])
        with starts.open("a") as lines:
            lines.write(f"{server_pid()} {name}\n")
        match name.split():
            case ["nap", seconds, *_]:
                time.sleep(float(seconds))
            case ["held", _]:
                while not starts.with_name(name).exists():
                    time.sleep(0.02)
            case ["warn", word]:
                logging.getLogger(__name__).warning("A word: %s", word)
        return super().execute_sampler(pubs, options, backend_name)


class CountedExecutor(_Counted, ScriptedExecutor):
    """Plays the scripts."""


class PatientAerExecutor(_Counted, AerExecutor):
    """Simulates."""


class FaultyExecutor(ScriptedExecutor):
    """Comes up, and cannot run anything."""

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        raise RuntimeError("the device is not in a usable state")
