"""Server and operator read durations alike, though neither imports the other."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from qiskit_runtime_operator import durations
from qiskit_runtime_server import quantities

SERVER: TypeAdapter[timedelta] = TypeAdapter(quantities.Period)
OPERATOR: TypeAdapter[timedelta] = TypeAdapter(durations.Duration)


@pytest.mark.parametrize("text", ["90", "0.5", "90s", "500ms", "2h", "1h30m", "30d", "1 w 2 d", "PT1M30S", "00:01:30"])
def test_both_read_the_same_time(text: str) -> None:
    assert SERVER.validate_python(text) == OPERATOR.validate_python(text) > timedelta()


@pytest.mark.parametrize("text", ["", "soon", "0", "-5", "2h soon", "2y", "h", "1e3", "Plenty"])
def test_both_refuse_what_is_none_with_the_same_words(text: str) -> None:
    with pytest.raises(ValidationError) as of_server:
        SERVER.validate_python(text)
    with pytest.raises(ValidationError) as of_operator:
        OPERATOR.validate_python(text)
    assert of_server.value.errors()[0]["msg"] == of_operator.value.errors()[0]["msg"]
