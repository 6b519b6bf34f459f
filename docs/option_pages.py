"""The table of options: what the tests that prove its rows say."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROOFS = ("tests/unit/server/programs", "tests/processes/client")

sys.path.insert(0, str(ROOT / "tests"))

from kit.server.option_rows import ROWS, Row  # noqa: E402 - it lies where the line above says

_TITLES: Mapping[str, str] = {
    "sampler": "`SamplerV2`: the program `sampler`",
    "estimator": "`EstimatorV2`: the program `estimator`",
    "noise-learner": "`NoiseLearner`: the program `noise-learner`, legacy",
    "NoiseLearnerV3": "`NoiseLearnerV3`: the program `noise-learner`, v0.1 to v0.3",
    "executor_sampler.Sampler": "`executor_sampler.Sampler`: the program `executor`",
    "executor_estimator.Estimator": "`executor_estimator.Estimator`: the program `executor`",
    "Executor": "`Executor`: the program `executor`",
    "Calibrator": "`Calibrator`: the program `calibrate`",
    "every job": "Every job",
}


def option_rows() -> Mapping[tuple[str, str], Row]:
    """Return all rows, by program and option, from the tests that prove them."""
    for folder in PROOFS:
        for path in sorted((ROOT / folder).glob("test_option_rows*.py")):
            _load(path)
    return ROWS


def _load(path: Path) -> None:
    name = f"proofs_{path.stem}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{path} cannot be imported."
        raise ImportError(message)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def options_page() -> str:
    """Return the page on options."""
    lines = [
        "# Options",
        "",
        "Every option that a client has, and what happens to it here: it is *honoured*, or the job is *refused* with",
        "an error that names it, or it is *not sent* by the client. None is dropped. Made by `make docs` from the",
        "tests that prove the rows, `test_option_rows*.py`.",
        "",
    ]
    rows = option_rows()
    for program, title in _TITLES.items():
        lines += [f"## {title}", "", "| option | | |", "|---|---|---|"]
        lines += [
            f"| `{row.option}` | {row.verdict} | {row.note} |" for key, row in sorted(rows.items()) if key[0] == program
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
