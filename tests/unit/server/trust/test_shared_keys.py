"""Keys that processes share."""

import pytest
from pydantic import SecretStr

from qiskit_runtime_server import Settings
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.trust.shared_keys import SharedKeys


def test_each_of_two_keys_is_accepted_and_nothing_else() -> None:
    keys = SharedKeys(SecretStr("one"), SecretStr("two"))
    assert len(keys) == 2
    assert [keys.accept(f"Bearer {key}") for key in ("one", "two")] == [True, True]
    for wrong in ("", "one", "Bearer ", "Bearer on", "Bearer onee", "Bearer two one", "bearer one", "Bearer \xfc"):
        assert not keys.accept(wrong)


def test_without_a_key_nobody_is_accepted() -> None:
    keys = SharedKeys(None, None)
    assert not keys
    assert not keys.accept("Bearer None")
    assert not keys.accept("Bearer ")


@pytest.mark.parametrize("name", ["executor_key", "load_key"])
def test_a_second_key_without_a_first_one_is_refused(name: str) -> None:
    with pytest.raises(StartupError, match=f"QRS_{name.upper()}_ALSO: it is a second key: .*QRS_{name.upper()}, too"):
        Settings.load(**{f"{name}_also": "the other one"})
    assert Settings.load(**{name: "one", f"{name}_also": "the other one"})
