"""The programs that jobs may ask for, by the names that clients call them."""

from enum import StrEnum


class ProgramName(StrEnum):
    """A program: what is made of a job's params."""

    SAMPLER = "sampler"
    ESTIMATOR = "estimator"
    EXECUTOR = "executor"
    NOISE_LEARNER = "noise-learner"
    CALIBRATE = "calibrate"
