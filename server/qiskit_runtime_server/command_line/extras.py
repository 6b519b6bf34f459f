"""Which extra of this distribution brings what is not installed."""

from collections.abc import Mapping
from typing import Final

_API: Final = "serve"
_EXECUTOR: Final = "executor"
# Modules as they are imported; a test compares them with pyproject.toml.
EXTRA_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("alembic", "asyncpg", "cryptography", "fastapi", "mako", "prometheus_client", "jwt", "sqlalchemy", "starlette",
         "uvicorn", "zstandard"),
        _API,
    ),
    **dict.fromkeys(
        (
            "ibm_quantum_schemas", "numpy", "openqasm3", "qiskit", "qiskit_aer", "qiskit_ibm_runtime",
            "qiskit_mitigation", "qiskit_noise_learning", "qiskit_qasm3_import", "rustworkx", "samplomatic", "scipy",
            "stim", "threadpoolctl",
        ),
        _EXECUTOR,
    ),
    "opentelemetry": "tracing",
    "requests": "conformance",
    "kubernetes": "operator",
    "cupy": "custatevec",
    "cuquantum": "custatevec",
}  # fmt: skip


def explained(error: ModuleNotFoundError) -> str:
    """Return what to install for a module that is missing.

    Raises:
        ModuleNotFoundError: The error itself, if no extra brings the module: then something else is wrong.
    """
    module = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(module)
    if extra is None:
        raise error
    return (
        f"The package of the module {module!r} is not installed, which this command needs: "
        f'pip install "qiskit-runtime-server[{extra}]", or, in a checkout, pip install ".[{extra}]".'
    )
