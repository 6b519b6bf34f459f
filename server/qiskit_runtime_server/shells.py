"""Environment variables, written so that a shell, Python or a file of variables takes them."""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final


class Format(StrEnum):
    """What the variables are written for."""

    SH = "sh"
    POWERSHELL = "powershell"
    PYTHON = "python"
    DOTENV = "dotenv"


def setting(variables: Mapping[str, str], form: Format) -> str:
    """Return the text that sets variables, as lines without an end of line behind the last."""
    return _SETTING[form](variables)


def unsetting(names: Iterable[str], form: Format) -> str:
    """Return the text that removes variables whether or not they are set; a file of variables gets them empty."""
    return _UNSETTING[form](list(names))


def _lines(line: Callable[[str, str], str]) -> Callable[[Mapping[str, str]], str]:
    return lambda variables: "\n".join(line(name, value) for name, value in variables.items())


def _powershell(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# JSON's strings are Python's, and those of files of variables.
_SETTING: Final[Mapping[Format, Callable[[Mapping[str, str]], str]]] = {
    Format.SH: _lines(lambda name, value: f"export {name}={shlex.quote(value)}"),
    Format.POWERSHELL: _lines(lambda name, value: f"$env:{name} = {_powershell(value)}"),
    Format.PYTHON: lambda variables: f"import os\n\nos.environ.update({json.dumps(dict(variables), indent=4)})",
    Format.DOTENV: _lines(lambda name, value: f"{name}={json.dumps(value)}"),
}
_UNSETTING: Final[Mapping[Format, Callable[[list[str]], str]]] = {
    Format.SH: lambda names: f"unset {' '.join(names)}",
    Format.POWERSHELL: lambda names: f"Remove-Item -ErrorAction Ignore {', '.join(f'Env:{name}' for name in names)}",
    Format.PYTHON: lambda names: f"import os\n\nfor name in {json.dumps(names)}:\n    os.environ.pop(name, None)",
    Format.DOTENV: lambda names: "\n".join(f"{name}=" for name in names),
}
