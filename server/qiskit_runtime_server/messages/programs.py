"""The programs that jobs may ask for, by the names that clients call them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ProgramName(StrEnum):
    """A program: what is made of a job's params."""

    SAMPLER = "sampler"
    ESTIMATOR = "estimator"
    EXECUTOR = "executor"
    NOISE_LEARNER = "noise-learner"
    CALIBRATE = "calibrate"


SCHEMA_VERSIONS: Final[Mapping[ProgramName, tuple[str, ...]]] = {
    ProgramName.EXECUTOR: ("v0.1", "v0.2", "v1.0", "v1.1", "v2.0"),
    ProgramName.NOISE_LEARNER: ("v0.1", "v0.2", "v0.3"),
    ProgramName.CALIBRATE: ("v0.1",),
}
"""The versions of params that are read, where params name one."""
