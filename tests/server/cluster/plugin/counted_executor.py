"""Executors that a test's executor service finds by entry point, and that write down what they start."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.sampler_pub import SamplerPub
from scripted_executor import ScriptedExecutor


class CountedExecutor(ScriptedExecutor):
    """Takes as many seconds as the name of the first circuit says, if that is `nap <seconds>`."""

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        name = pubs[0].circuit.name
        with Path(os.environ["STARTS"]).open("a") as starts:
            starts.write(f"{os.getppid()} {name}\n")
        if name.startswith("nap "):
            time.sleep(float(name.removeprefix("nap ")))
        return super().execute_sampler(pubs, options, backend_name)


class FaultyExecutor(ScriptedExecutor):
    """Comes up, and cannot run anything."""

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        raise RuntimeError("the device is not in a usable state")
