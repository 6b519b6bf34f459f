"""A function that fails in the ways in which simulators fail; it imports nothing that takes time."""

import os
import signal
import time


def faulty(kind: str) -> str:
    """Do what a broken simulator may do."""
    if kind == "hang":
        time.sleep(600)
    elif kind == "abort":
        os.kill(os.getpid(), signal.SIGABRT)
    elif kind == "raise":
        message = "a mistake"
        raise ValueError(message)
    return kind
