"""How the lines of the log look: text for people, or one JSON object a line for what collects logs.

A JSON line has `time` (RFC 3339, UTC), `level` as in `QRS_LOG_LEVEL`, `logger` and `message`, `exception` if there is
one, `trace` of the request or job that it is about (`log.trace`), and all that a call of the logger gives as `extra`.
The operator writes the same but for traces, and reads the last such line of a container that ended.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, NoReturn

from qiskit_runtime_server.log.trace import TextFormatter, Traced

LogFormat = Literal["text", "json"]

_TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
# What every record has; the rest was given as `extra`.
_EVERY: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
# Their accounts of every start, and of every request, are of no use to a user.
_QUIET: Final = ("alembic", "httpx", "qiskit", "uvicorn")

logger = logging.getLogger("qiskit_runtime_server")


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        extra = {name: value for name, value in vars(record).items() if name not in _EVERY and name not in line}
        return json.dumps({**line, **extra}, default=str)


def begin_log(level: str, form: LogFormat) -> None:
    """Have this process write its log to stderr; as JSON, also warnings of Python and errors that nobody caught."""
    handler = logging.StreamHandler()
    handler.addFilter(Traced())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    if form == "json":
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_uncaught


def is_json() -> bool:
    """Tell whether this process writes its log as JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def end(problem: str) -> NoReturn:
    """End the process, with what a user can mend as its last line."""
    if not is_json():
        sys.exit(f"error: {problem}")
    logger.critical("%s", problem)
    sys.exit(1)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logger.critical("Ended by %r.", error, exc_info=(kind, error, trace))
