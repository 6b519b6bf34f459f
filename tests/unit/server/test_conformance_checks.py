"""Not offered is what the client library lacks; whatever else it raises before a job is sent is a fault."""

from types import SimpleNamespace
from typing import Any

import pytest
from qiskit_ibm_runtime import SamplerOptions
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qiskit_runtime_server.conformance.check import NotOfferedError
from qiskit_runtime_server.conformance.client_library import of_client, require_option, set_options
from qiskit_runtime_server.conformance.option_values import Trial
from qiskit_runtime_server.conformance.options import attempt

# The class of the legacy sampler warns that it is deprecated; the checks are about it all the same.
pytestmark = pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")
TARGET: Any = SimpleNamespace(backend=FakeManilaV2())


@pytest.mark.parametrize(("module", "name"), [(".no_such_module", "Sampler"), ("", "NoSuchPrimitive")])
def test_a_class_that_the_client_lacks_is_not_offered(module: str, name: str) -> None:
    with pytest.raises(NotOfferedError, match=name):
        of_client(module, name)


def test_a_class_that_the_client_has_is_returned() -> None:
    assert of_client("", "SamplerOptions") is SamplerOptions


@pytest.mark.parametrize("option", ["no_such", "no_such.enable", "dynamical_decoupling.no_such"])
def test_an_option_that_the_client_lacks_is_not_offered(option: str) -> None:
    with pytest.raises(NotOfferedError, match=rf"SamplerOptions has no {option}"):
        require_option(SamplerOptions(), option)
    with pytest.raises(NotOfferedError):
        attempt(Trial("sampler", option, 1), TARGET)
    with pytest.raises(NotOfferedError):
        attempt(Trial("sampler", "default_shots", 10, beside={option: 1}), TARGET)


@pytest.mark.parametrize("option", ["default_shots", "dynamical_decoupling.enable", "simulator.seed_simulator"])
def test_a_value_that_the_client_does_not_take_is_a_fault(option: str) -> None:
    require_option(SamplerOptions(), option)
    with pytest.raises(ValueError, match=option.rpartition(".")[2]):
        attempt(Trial("sampler", option, "nonsense"), TARGET)


def test_options_of_sections_are_set_beside_those_that_stand() -> None:
    options = SamplerOptions(dynamical_decoupling={"sequence_type": "XpXm"})
    set_options(options, {"default_shots": 7, "dynamical_decoupling": {"enable": True}})
    section = options.dynamical_decoupling
    assert (options.default_shots, section.enable, section.sequence_type) == (7, True, "XpXm")
