"""Takes shots with state vectors: one interpreter of circuits, noise and control flow above a port to states.

A density matrix of n qubits has 4^n numbers, a state vector 2^n. A noisy shot is then a trajectory: each channel is
replaced by one of its Kraus operators, drawn with its probability in the state that it finds (Dalibard, Castin, Molmer,
1992, https://doi.org/10.1103/PhysRevLett.68.580), and the mean over trajectories is the density matrix. The example is
a bit flip, on |0>:

    sqrt(1-p) I, sqrt(p) X      the Kraus operators, with probabilities 1-p and p in any state
    |0>, |1>                    what a trajectory is, in 1-p and p of the shots

A circuit is lowered to a program (`lowering`, `program`), which `interpreter` runs on many small states at once
(`lanes`) or on one large state (`one_state`). States are NumPy's (`numpy_states`) or whatever implements `state_port`.
"""
