"""RuntimeServers as the operator reads them, and what it says of those that make no sense."""

from pathlib import Path
from typing import Any

import pytest

from kit.kubernetes.runtime_servers import AER, body
from qiskit_runtime_operator.errors import InvalidSpecError
from qiskit_runtime_operator.resource.model import PullPolicy, RuntimeServer
from qiskit_runtime_operator.resource.quantities import PATTERN

DEFINITION = Path(__file__).parents[4] / "crds" / "runtimeservers.yaml"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"executors": [AER, AER]}, "two have the same name"),
        ({"executors": [{"name": "a" * 60}]}, "longer than 63 characters"),
        ({"executors": [{**AER, "slots": 0}]}, r"spec.executors\[0\].slots: Input should be greater"),
        ({"executors": [{**AER, "resources": {"limits": {"cpu": "two"}}}]}, r"limits.cpu: .*not a quantity"),
        ({"database": {}}, "give either sqlite or postgresql"),
    ],
)
def test_a_spec_that_makes_no_sense_is_named_by_its_field(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        RuntimeServer.from_object(body(spec))


def test_what_is_unknown_is_named_and_left_out() -> None:
    spec = {
        "executors": [{**AER, "replica": 2, "tolerations": [{"new": 1}]}],
        "more": {},
        "image": {"pullPolicy": "Soon"},
    }
    server = RuntimeServer.from_object(body(spec))
    assert server.ignored == ("spec.executors[0].replica", "spec.image.pullPolicy", "spec.more")
    assert server.spec.image.pull_policy is PullPolicy.IF_NOT_PRESENT


def test_what_makes_no_sense_is_named_without_what_is_unknown() -> None:
    with pytest.raises(InvalidSpecError) as error:
        RuntimeServer.from_object(body({"more": 1, "suspend": "perhaps"}))
    assert "suspend" in str(error.value)
    assert "more" not in str(error.value)


def test_an_executor_is_of_the_type_that_it_is_called_unless_it_says() -> None:
    spec = {"executors": [{"name": "aer"}, {"name": "large", "type": "aer"}]}
    assert [executor.kind for executor in RuntimeServer.from_object(body(spec)).spec.executors] == ["aer", "aer"]


def test_the_schema_has_the_same_idea_of_a_quantity() -> None:
    assert DEFINITION.read_text().count(PATTERN) == 2
