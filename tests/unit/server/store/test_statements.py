"""Every SQL statement says what it is for and which index serves it; SQLite's planner confirms the index."""

import ast
import importlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Delete, Insert, Select, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from qiskit_runtime_server.store import sql

FOLDER = Path(sql.__file__).parent
SERVED_BY = re.compile(r"(Index|Primary key of) `(\w+)`\.$")


@dataclass(frozen=True)
class Statement:
    name: str
    value: Select[tuple[object, ...]] | Update | Delete | Insert
    sentence: str | None

    @property
    def index(self) -> str | None:
        found = SERVED_BY.search(self.sentence or "")
        if found is None:
            return None
        return found[2] if found[1] == "Index" else f"sqlite_autoindex_{found[2]}_1"


def text_of(node: ast.stmt | None) -> str | None:
    """Return the text that stands below a constant."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def statements() -> Iterator[Statement]:
    for file in sorted(FOLDER.glob("*.py")):
        module = importlib.import_module(f"{sql.__name__}.{file.stem}")
        body = ast.parse(file.read_text()).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            name = node.target.id
            value = getattr(module, name)
            if isinstance(value, Select | Update | Delete | Insert) and name != "ASK_CLOCK":
                text = (
                    after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
                )
                yield Statement(f"{file.stem}.{name}", value, text if isinstance(text, str) else None)


ALL = list(statements())
every = pytest.mark.parametrize("statement", ALL, ids=lambda statement: statement.name)


def test_all_are_found() -> None:
    assert len(ALL) > 50
    assert sum(statement.index is not None for statement in ALL) > 40


@every
def test_it_has_a_sentence(statement: Statement) -> None:
    assert statement.sentence is not None
    assert statement.sentence[0] in "`ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@every
def test_its_index_is_the_one_that_is_used(statement: Statement, migrated_folder: Path) -> None:
    if isinstance(statement.value, Insert) or (statement.sentence or "").startswith("Base of"):
        assert isinstance(statement.value, Insert) or "Index" not in (statement.sentence or "")
        return
    text, values = compiled(statement.value)
    with sqlite3.connect(f"file:{migrated_folder / 'store.db'}?mode=ro&immutable=1", uri=True) as connection:
        connection.create_function("clock_timestamp", 0, str)
        plan = [step[-1] for step in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    connection.close()
    assert plan
    if statement.index is None:
        assert all(step.startswith("SCAN executors") for step in plan), plan
        return
    assert any(f"INDEX {statement.index}" in step for step in plan), plan
    if "reads the whole" not in (statement.sentence or ""):
        assert not [step for step in plan if re.match(r"SCAN \w", step) and "anon_" not in step]


def compiled(statement: Select[tuple[object, ...]] | Update | Delete) -> tuple[str, dict[str, str | int | float]]:
    """Return the statement for SQLite, with values of no meaning: plans do not depend on them."""
    compiled = statement.compile(dialect=sqlite.dialect(paramstyle="named"))
    assert isinstance(compiled, SQLCompiler)
    given = {name: ["an id"] if name == "ids" else value for name, value in compiled.params.items()}
    state = compiled.construct_expanded_state({name: 0 if value is None else value for name, value in given.items()})
    values = {name: value if isinstance(value, str | int | float) else 0 for name, value in state.parameters.items()}
    return state.statement, values
