"""The fake devices, read from the JSON files that the client library ships; the library itself is never imported."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from qiskit_runtime_server.errors import StartupError

_PREFIX: Final = "fake_"


def fake_files() -> dict[str, tuple[Path, Path]]:
    """Return the configuration file and the properties file of every fake device, by its name.

    Raises:
        StartupError: If the client library, which has the files, is not installed.
    """
    folders = sorted(path for path in _folder().iterdir() if path.is_dir())
    pairs = {
        _PREFIX + path.name: (path / f"conf_{path.name}.json", path / f"props_{path.name}.json") for path in folders
    }
    return {name: pair for name, pair in pairs.items() if all(file.is_file() for file in pair)}


def _folder() -> Path:
    # The spec of a top-level package is found without running any of its code.
    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or not spec.submodule_search_locations:
        raise StartupError(
            "The fake devices are part of qiskit-ibm-runtime, which is not installed here (--no-deps is enough)."
        )
    return Path(spec.submodule_search_locations[0]) / "fake_provider" / "backends"
