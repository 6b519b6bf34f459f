"""Devices whose errors are known exactly: Pauli Lindblad channels after two-qubit gates, and misread bits."""

from collections.abc import Mapping
from itertools import product

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import CXGate
from qiskit.quantum_info import Clifford, Pauli, PauliList
from qiskit_aer.noise import NoiseModel, QuantumError, ReadoutError, pauli_error
from qiskit_ibm_runtime.results import LayerError
from qiskit_ibm_runtime.results import PauliLindbladError as LearnedError

CX = Clifford(CXGate())


def symmetric(rates: Mapping[str, float]) -> dict[str, float]:
    """Return `rates`, equal for each pair of errors that a cx turns into each other: only their mean can be learned.

    Labels are those of Qiskit for cx(0, 1): the control is on the right.
    """
    pairs = {label: Pauli(label).evolve(CX).to_label().removeprefix("-") for label in rates}
    return {label: (rate + rates.get(pairs[label], 0)) / 2 for label, rate in rates.items()} | {
        pair: rates[label] / 2 for label, pair in pairs.items() if pair not in rates
    }


def pauli_device(layers: Mapping[tuple[int, int], Mapping[str, float]], misread: float = 0.0) -> NoiseModel:
    """Return a noise model with errors after cx on each pair of qubits; labels as in `symmetric`."""
    model = NoiseModel()
    for qubits, rates in layers.items():
        model.add_quantum_error(_channel(rates), "cx", list(qubits), warnings=False)
    if misread:
        model.add_all_qubit_readout_error(ReadoutError([[1 - misread, misread], [misread, 1 - misread]]))
    return model


def misreading(zero: float, one: float) -> NoiseModel:
    """Return a noise model that reads a 0, and a 1, as the other with these probabilities, and does nothing else."""
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[1 - zero, zero], [one, 1 - one]]))
    return model


def _channel(rates: Mapping[str, float]) -> QuantumError:
    """Return the channel as probabilities, to full precision; Aer's own conversion drops small ones."""
    paulis = PauliList(["".join(letters) for letters in product("IXYZ", repeat=2)])
    turned = np.array([~paulis.commutes(Pauli(label)) for label in rates])
    fidelities = np.exp(-2 * np.array(list(rates.values())) @ turned)
    signs = np.array([1 - 2 * ~paulis.commutes(pauli) for pauli in paulis])
    chances = signs @ fidelities / len(paulis)
    return pauli_error([(label, chance) for label, chance in zip(paulis.to_labels(), chances, strict=True)])


def known_layer(
    qubits: tuple[int, int], rates: Mapping[str, float], *, order: tuple[int, int] | None = None
) -> LayerError:
    """Return what a noise learner says of cx on `qubits`, with its qubits in any order; labels as in `symmetric`."""
    order = order or qubits
    circuit = QuantumCircuit(2)
    circuit.cx(*(order.index(qubit) for qubit in qubits))
    labels = list(rates) if order == qubits else [label[::-1] for label in rates]
    return LayerError(circuit, order, LearnedError(PauliList(labels), list(rates.values())))
