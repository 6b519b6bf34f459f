"""The executor `qsim`: state vectors of single precision on processors, by Google's qsim.

Only `library` speaks to qsim; `amplitudes` is plain NumPy. What qsim cannot do runs as on the executor `aer`.
"""
