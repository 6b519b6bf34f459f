"""Twirling, decoupling and mitigation: how circuits are varied, and what is made of their bits.

A pub is planned (`plan`), stripped of its final measurements (`final_measurements`), and then either run with its
measurements twirled (`measurement_twirling`) or rewritten (`rewritten`, `layers`, `learning`) and run as a quantum
program (`run_items`). `extrapolation` and `error_bars` say how certain the values are. All the methods:
Cai et al., 2023, https://doi.org/10.1103/RevModPhys.95.045005.
"""
