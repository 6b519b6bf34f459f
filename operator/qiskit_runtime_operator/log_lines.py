"""How the lines of the log look: text for people, or one JSON object a line for what collects logs.

JSON lines have the fields of the server's: `time` (RFC 3339, UTC), `level`, `logger`, `message`, `exception`, and what
a call of the logger gives as `extra`. kopf's own JSON format has other names, no logger, and comes with a handler that
leaves out what asyncio says; so only what kopf knows of an object is taken from it.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, NoReturn

LogFormat = Literal["text", "json"]

_TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
# What every record has, and what kopf adds for itself; the rest was given as `extra`.
_EVERY: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "k8s_skip", "k8s_ref", "settings"}

logger = logging.getLogger("qiskit_runtime_operator")


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
        if about := getattr(record, "k8s_ref", None):
            line["object"] = about
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        extra = {name: value for name, value in vars(record).items() if name not in _EVERY and name not in line}
        return json.dumps({**line, **extra}, default=str)


def begin_log(level: str, form: LogFormat) -> None:
    """Have this process write its log to stderr; as JSON, also warnings of Python and errors that nobody caught."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # Its accounts of each event, and of each start, are of no use to an administrator.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    if form == "json":
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_uncaught


def end(problem: str) -> NoReturn:
    """End the process, with what an administrator can mend as its last line."""
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        sys.exit(f"qiskit-runtime-operator: {problem}")
    logger.critical("%s", problem)
    sys.exit(1)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logger.critical("Ended by %r.", error, exc_info=(kind, error, trace))
