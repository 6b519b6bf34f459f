"""Asks a server whether it does what clients of Qiskit Runtime expect, one named check at a time.

It uses the client library by its public names, from 0.40 on, and plain HTTP; nothing else of this project but the names
of the variables that connect a client. So it runs in a client's own environment, and against any server that speaks the
protocol.
"""
