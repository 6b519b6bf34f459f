"""Takes shots of Clifford circuits of any width, with noise, by following what Pauli errors do to one perfect run.

A Clifford gate turns a product of Pauli operators into another one (Gottesman, 1998,
https://arxiv.org/abs/quant-ph/9807006). So a shot with errors differs from the perfect run by such a product, its
*Pauli frame*, which takes two bits for each qubit, and a gate changes the frames of 64 shots with a few operations on
machine words (Gidney, 2021, https://doi.org/10.22331/q-2021-07-06-497). The example is a bit flip before a Bell pair's
gate:

    reference         h q0; cx q0, q1; measure      00
    frame of a shot   X on q0 before the cx         X on q0 and q1 after it: the shot reads 11

What comes out at random in the reference does so in the shots, as each qubit that is in |0> (at the start, after a
reset, after a measurement) gets a Z in its frame in half of the shots: it changes nothing there, and flips what does
not commute with it.

`recognition` knows Clifford gates, angles included; `pauli_noise` writes errors as Pauli channels, or says that they
are twirled; `lowering` writes a circuit as a program of levels, whose random flips `random_flips` draws and `frames`
carries through; `reference` is the perfect run, by Stim.
"""
