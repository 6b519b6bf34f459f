"""The program `calibrate`: a simulated device is as its documents say at all times, so there is nothing to be done."""

from datetime import UTC, datetime
from typing import Final

import msgspec

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs.wire import reading

VERSION: Final = "v0.1"


def execute(document: bytes) -> bytes:
    """Check the params in `document` and return the result that the client decodes.

    Raises:
        InvalidInputError: If the document is damaged, or of another version.
        UnsupportedOptionError: If it has an option: there are none.
    """
    start = datetime.now(UTC)
    params = reading.as_object(reading.parse(document), "params")
    if params.get("schema_version") != VERSION:
        raise InvalidInputError(
            f"Params are of schema version {params.get('schema_version')!r}; this server reads {VERSION}."
        )
    reading.check_parts(params, {"schema_version", "options"})
    options = reading.as_object(params.get("options") or {}, "options")
    reading.check_parts(options, {"experimental"}, "options")
    for name in reading.as_object(options.get("experimental") or {}, "Option experimental"):
        raise UnsupportedOptionError(
            f"Option experimental.{name} is unknown to this server; calibrations have no options."
        )
    return msgspec.json.encode({"schema_version": VERSION, "start": start, "stop": datetime.now(UTC)})
