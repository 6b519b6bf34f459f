"""Where a RuntimeServer is reached: what the status says is where the ingress or the route leads."""

from typing import Any

import pytest

from kit.kubernetes.runtime_servers import render_context, runtime_server
from qiskit_runtime_operator.render import render
from qiskit_runtime_operator.resource.urls import public_url
from qiskit_runtime_operator.settings import Settings

ANYBODY = {"auth": {"anonymous": True}}
GATEWAY = {"parentRefs": [{"name": "public"}]}


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ({}, "http://lab-api.research.svc:8000"),
        ({"tls": {"secretName": "own"}}, "https://lab-api.research.svc:8000"),
        ({"tls": {"executors": {}}}, "http://lab-api.research.svc:8000"),
        ({"ingress": {"host": "lab.example.org"}, **ANYBODY}, "http://lab.example.org"),
        ({"ingress": {"host": "lab.example.org", "tlsSecretName": "tls"}, **ANYBODY}, "https://lab.example.org"),
        ({"gateway": {**GATEWAY, "hostnames": ["lab.example.org"]}, **ANYBODY}, "https://lab.example.org"),
        ({"gateway": {**GATEWAY, "hostnames": ["lab"], "scheme": "http"}, **ANYBODY}, "http://lab"),
        ({"gateway": GATEWAY, **ANYBODY}, "http://lab-api.research.svc:8000"),
    ],
)
def test_the_url_is_the_one_from_outside_if_that_is_known(spec: dict[str, Any], url: str) -> None:
    assert public_url(runtime_server(spec)) == url


def test_the_load_is_on_a_port_that_no_ingress_and_no_route_leads_to() -> None:
    assert Settings.model_fields["load_url"].default == "http://{name}-api.{namespace}.svc:9090/internal/load"
    for exposure in ({"ingress": {"host": "lab.example.org"}}, {"gateway": GATEWAY}):
        manifests = render(runtime_server({**exposure, **ANYBODY}), render_context())
        (way_in,) = [item for item in manifests if item["kind"] in {"Ingress", "HTTPRoute"}]
        assert "9090" not in str(way_in)
        assert "internal" not in str(way_in)


def test_a_route_leads_to_the_api() -> None:
    spec = {"gateway": {**GATEWAY, "hostnames": ["lab.example.org"]}, **ANYBODY}
    (route,) = [item for item in render(runtime_server(spec), render_context()) if item["kind"] == "HTTPRoute"]
    assert route["spec"]["hostnames"] == ["lab.example.org"]
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    assert (backend["name"], backend["port"]) == ("lab-api", 8000)
    assert route["spec"]["parentRefs"][0]["name"] == "public"
