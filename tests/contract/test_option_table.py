"""The table of options has a row for every option that a client has, and a test for every row."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest
from option_pages import ROOT, option_rows
from pydantic import BaseModel
from qiskit_ibm_runtime import options, options_models

from kit.server.option_rows import Verdict

LEGACY = {
    "sampler": options.SamplerOptions(),
    "estimator": options.EstimatorOptions(),
    "noise-learner": options.NoiseLearnerOptions(),
}
MODELS = {
    "executor_sampler.Sampler": options_models.SamplerOptions,
    "executor_estimator.Estimator": options_models.EstimatorOptions,
    "Executor": options_models.ExecutorOptions,
    "NoiseLearnerV3": options_models.NoiseLearnerV3Options,
    "Calibrator": options_models.CalibratorOptions,
}


def legacy_names(section: object, prefix: str = "") -> Iterator[str]:
    assert is_dataclass(section)
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value):
            yield from legacy_names(value, f"{prefix}{field.name}.")
        elif field.name != "_VERSION":
            yield f"{prefix}{field.name}"


def model_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from model_names(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


OPTIONS = [(program, name) for program, section in LEGACY.items() for name in legacy_names(section)]
OPTIONS += [(program, name) for program, model in MODELS.items() for name in model_names(model)]


@pytest.mark.parametrize(("program", "name"), OPTIONS)
def test_every_option_of_the_client_has_a_row(program: str, name: str) -> None:
    rows = option_rows()
    row = rows.get((program, name)) or rows.get(("every job", name))
    assert row is not None
    assert row.verdict in Verdict


def test_every_row_is_about_an_option_that_there_is() -> None:
    known = set(OPTIONS) | {("every job", name) for _, name in OPTIONS}
    assert option_rows().keys() <= known


def test_every_row_is_proven_by_a_test_that_runs() -> None:
    text = "".join(path.read_text() for path in ROOT.glob("tests/*/**/test_option_rows*.py"))
    for row in option_rows().values():
        assert f"def {row.test.rpartition('.')[2]}(" in text
        assert row.test.rpartition(".")[2].startswith("test_")
