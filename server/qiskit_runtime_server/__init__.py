"""A self-hosted Qiskit Runtime: unmodified clients submit jobs, simulators run them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qiskit_runtime_server.app import create_app
    from qiskit_runtime_server.settings import Settings

__all__ = ["Settings", "create_app"]

_MODULES: Final = {"Settings": "settings", "create_app": "app"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    """Import public names when they are asked for: worker processes need none of them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
