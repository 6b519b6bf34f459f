"""Looks whether the environment wants traces: without that, nothing of OpenTelemetry's SDK is imported."""

import logging
import os
from typing import Final

from qiskit_runtime_server.log.spans import NO_SPANS, Spans

# What is sent along with spans; collectors of others ask for a token.
_SECRETS: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

logger = logging.getLogger(__name__)


def open_spans(service: str) -> Spans:
    """Return where spans of this process go: to where `OTEL_*` of its environment say, or nowhere.

    What it tells a collector in confidence is not in the environment afterwards, which workers inherit.

    Args:
        service: What the process is called where the environment does not say it.
    """
    try:
        where = _endpoint()
        if where is None:
            return NO_SPANS
        from qiskit_runtime_server.log.otlp import open_otlp  # noqa: PLC0415 - an extra

        return open_otlp(service, where)
    except ModuleNotFoundError as error:
        logger.warning('No traces are written: %s. pip install "qiskit-runtime-server[tracing]" brings it.', error)
    except ValueError as error:
        # Other programs in the same place may make sense of it, so it is no reason not to start.
        logger.warning("No traces are written, as the OTEL_* of the environment make no sense here: %s", error)
    finally:
        for name in _SECRETS:
            os.environ.pop(name, None)
    return NO_SPANS


def _endpoint() -> str | None:
    """Return where traces go, as the environment spells it; None if they go nowhere."""
    said = os.environ.get
    if said("OTEL_SDK_DISABLED", "").strip().lower() == "true" or said("OTEL_TRACES_EXPORTER") == "none":
        return None
    return next((where for name in _ENDPOINTS if (where := said(name))), None)
