"""What the environment says of traces; without that, nothing is imported."""

import os
import subprocess
import sys

import pytest

from qiskit_runtime_server.log.open_spans import open_spans
from qiskit_runtime_server.log.otlp import OtlpSpans
from qiskit_runtime_server.log.spans import NO_SPANS

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
UNWANTED = [
    {},
    {"OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_SAMPLER": "always_on"},
    {ENDPOINT: ""},
    {ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
    {ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
]
IMPORTED = """
import sys
from qiskit_runtime_server import Settings, create_app
from qiskit_runtime_server.roles import executor
create_app(settings=Settings(_env_file=None))
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))))
"""


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("said", UNWANTED)
def test_there_are_no_spans_where_nobody_wants_them(said: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert open_spans("tested") is NO_SPANS


@pytest.mark.slow
def test_a_server_without_traces_imports_nothing_of_them() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", [ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_an_endpoint_is_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    spans = open_spans("tested")
    assert isinstance(spans, OtlpSpans)
    spans.close()


@pytest.mark.parametrize("said", [{}, {ENDPOINT: "http://127.0.0.1:1"}])
def test_what_a_collector_is_told_in_confidence_is_not_left_to_workers(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    for name, value in (said | dict.fromkeys(secrets, "authorization=Bearer%20secret")).items():
        monkeypatch.setenv(name, value)
    open_spans("tested").close()
    assert not os.environ.keys() & set(secrets)


def test_a_server_starts_without_the_extra_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "qiskit_runtime_server.log.otlp", None)
    assert open_spans("tested") is NO_SPANS
    (line,) = caplog.messages
    assert 'pip install "qiskit-runtime-server[tracing]"' in line


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "max_queue_size"),
        ({ENDPOINT: "http://127.0.0.1:nowhere"}, "nowhere"),
    ],
)
def test_what_makes_no_sense_is_told_and_keeps_no_server_from_starting(
    said: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in ({ENDPOINT: "http://127.0.0.1:1"} | said).items():
        monkeypatch.setenv(name, value)
    assert open_spans("tested") is NO_SPANS
    (line,) = caplog.messages
    assert words in line
