"""Shows whether an executor simulates rightly, before it gets a job.

What is asked for cannot be answered by the parts of the server around the simulator: qubits are entangled, one is
measured in the middle, and there are two parameter sets. An executor that draws its bits by chance, mixes up their
order or the parameter sets, or returns the same shot again and again, does not pass.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, Parameter, QuantumCircuit, QuantumRegister
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp

from qiskit_runtime_server.backends.ideal import IDEAL_NAMES
from qiskit_runtime_server.errors import InternalError
from qiskit_runtime_server.executors.base import BaseExecutor, replaces
from qiskit_runtime_server.programs.options.options import with_seed
from qiskit_runtime_server.simulation.contract import ExpectationTask
from qiskit_runtime_server.simulation.wish import GivenWish

_SHOTS: Final = 200
# A fair coin leaves these bounds in one of 10^12 tests of this many shots.
_FEWEST: Final = 0.25
_MOST: Final = 0.75
_PRECISION: Final = 0.05
# Single precision has seven digits.
_TOLERANCE: Final = 1e-4


def examine(executor: BaseExecutor, *, seed: int = 1) -> list[str]:
    """Have `executor` run circuits whose outcomes are known, and return what it did rightly.

    Args:
        executor: Asked as jobs ask it, but without its default of how jobs are simulated, which may refuse circuits.
        seed: Of what it draws.

    Returns:
        Of `sampler`, `estimator` and `expectation_values` those that it has; the first one always.

    Raises:
        InternalError: If an answer is wrong; the message says which, and what is wrong.
        Exception: What the executor raises.
    """
    default, executor.default_wish = executor.default_wish, GivenWish()
    try:
        return _passed(executor, seed)
    finally:
        executor.default_wish = default


def _passed(executor: BaseExecutor, seed: int) -> list[str]:
    _check_sampler(executor, seed)
    passed = ["sampler"]
    if replaces(executor, "sample") or replaces(executor, "execute_estimator"):
        _check_estimator(executor, seed)
        passed.append("estimator")
    if replaces(executor, "expectation_values"):
        _check_expectation_values(executor)
        passed.append("expectation_values")
    return passed


def _check_sampler(executor: BaseExecutor, seed: int) -> None:
    """Check the bits of a circuit: c0 is a fair coin, c1 equals it, c2 differs from it in the second set, c3 is 1."""
    qubits, bits, angle = QuantumRegister(3), ClassicalRegister(4, "c"), Parameter("angle")
    circuit = QuantumCircuit(qubits, bits, name="selftest")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.rx(angle, 2)
    circuit.cx(0, 2)
    circuit.measure(1, 0)
    circuit.cx(0, 1)
    circuit.x(1)
    circuit.measure([0, 2, 1], [1, 2, 3])
    pub = SamplerPub.coerce((circuit, [[0.0], [math.pi]], _SHOTS))
    [result] = executor.execute_sampler([pub], with_seed({}, seed), IDEAL_NAMES[0])
    shots = result.data.c.to_bool_array(order="little")
    if shots.shape != (2, _SHOTS, 4):
        raise InternalError(f"The sampler returned bits of shape {shots.shape}, wanted (2, {_SHOTS}, 4).")
    coin = shots[:, :, 0]
    wanted = np.stack([coin, coin, coin ^ np.array([[False], [True]]), np.ones_like(coin)], axis=2)
    wrong = int((shots != wanted).any(axis=2).sum())
    if wrong:
        raise InternalError(
            f"The sampler returned {wrong} of {2 * _SHOTS} shots with outcomes that the ideal circuit cannot have."
        )
    ones = coin.mean(axis=1)
    if not ((ones > _FEWEST) & (ones < _MOST)).all():
        raise InternalError(f"The sampler returned a share of {ones.tolist()} ones for a fair coin in two sets.")


def _check_estimator(executor: BaseExecutor, seed: int) -> None:
    """Check correlations of a Bell state, two of which have no variance."""
    circuit = QuantumCircuit(2, name="selftest")
    circuit.h(0)
    circuit.cx(0, 1)
    pub = EstimatorPub.coerce((circuit, ["ZZ", "XX", "YY", "IZ"], None, _PRECISION))
    [result] = executor.execute_estimator([pub], with_seed({}, seed), IDEAL_NAMES[0])
    values = np.asarray(result.data.evs)
    # Seven standard errors, of the one value that is not certain.
    _compare("estimator", values, np.array([1.0, 1.0, -1.0, 0.0]), 7 * _PRECISION)


def _check_expectation_values(executor: BaseExecutor) -> None:
    """Check correlations of a Bell state that is turned by an angle, for two angles.

    For U = exp(-i angle X/2), U† Z U = Z cos + Y sin and U† Y U = Y cos - Z sin; the Bell state has ZZ = XX = 1, ZY = 0
    (Nielsen, Chuang, Quantum Computation and Quantum Information, section 4.2, https://doi.org/10.1017/CBO9780511976667).
    """
    angle = Parameter("angle")
    circuit = QuantumCircuit(2, name="selftest")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.rx(angle, 0)
    angles = np.array([[0.3], [1.1]])
    task = ExpectationTask(
        circuit=circuit,
        parameter_values=angles,
        observables=[SparsePauliOp("ZZ"), SparsePauliOp("XX"), SparsePauliOp(["ZY", "II"], [1.0, 2.0])],
    )
    wanted = np.concatenate([np.cos(angles), np.ones((2, 1)), 2 - np.sin(angles)], axis=1)
    _compare("expectation_values", np.asarray(executor.expectation_values(task)), wanted, _TOLERANCE)


def _compare(method: str, values: NDArray[np.float64], wanted: NDArray[np.float64], tolerance: float) -> None:
    if values.shape != wanted.shape:
        raise InternalError(f"The method {method} returned values of shape {values.shape}, wanted {wanted.shape}.")
    if not np.allclose(values, wanted, rtol=0, atol=tolerance):
        raise InternalError(f"The method {method} returned {values.tolist()}, wanted {wanted.tolist()}.")
