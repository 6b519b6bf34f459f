"""Small ways to run pubs in this process."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from kit.quantum.plain_executor import PlainExecutor, Run


@pytest.fixture
def executor() -> PlainExecutor:
    return PlainExecutor()


@pytest.fixture
def sample(executor: PlainExecutor) -> Run:
    """Runs sampler pubs, on fake_manila where nothing else is said."""

    def run(pubs: Sequence[Any], backend: str = "fake_manila", **options: object) -> PrimitiveResult[Any]:
        return executor.execute_sampler([SamplerPub.coerce(pub) for pub in pubs], _seeded(options), backend)

    return run


@pytest.fixture
def estimate(executor: PlainExecutor) -> Run:
    """Runs estimator pubs, on an ideal device and at level 0 where nothing else is said."""

    level = {"resilience_level": 0}

    def run(pubs: Sequence[Any], backend: str = "fake_quantum_sim", **options: object) -> PrimitiveResult[Any]:
        return executor.execute_estimator([EstimatorPub.coerce(pub) for pub in pubs], level | _seeded(options), backend)

    return run


def _seeded(options: Mapping[str, Any]) -> dict[str, Any]:
    simulator = {"seed_simulator": 7, **options.get("simulator", {})}
    return {**options, "simulator": simulator}
