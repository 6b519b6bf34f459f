"""The commands and programs that README and docs show, in the order of a page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "decisions"),
]

KUBERNETES = "needs a cluster; the tests of the chart, the control plane and the node do the same"
GPU = "needs a GPU"
INSTALLS = "installs packages; CI does so before it tests"
FRAGMENT = "a line of a program that is shown elsewhere"

NOT_RUN = {
    ("README.md", "make demo"): "test_the_demo_runs_once_and_leaves_nothing_behind runs what it runs",
    ("README.md", 'pip install ".[serve]"'): INSTALLS,
    ("docs/explanation/physics/near-clifford.md", "pip install"): INSTALLS,
    ("docs/explanation/physics/noise-model.md", "generate_preset_pass_manager"): FRAGMENT,
    ("docs/explanation/physics/noise-model.md", "sampler.options.experimental"): FRAGMENT,
    ("docs/explanation/what-fits.md", "qiskit-runtime-server doctor"): "takes a minute; test_speed.py measures less",
    ("docs/how-to/accounts.md", "api()"): "needs an admin; test_accounts_over_http.py calls the same routes",
    ("docs/how-to/accounts.md", "class()"): "needs a class; test_teaching.py calls the same routes",
    ("docs/how-to/accounts.md", "export QRS_URL"): "needs an admin; test_accounts_over_http.py does the same",
    ("docs/how-to/add-devices.md", "gzip --keep"): FRAGMENT,
    ("docs/how-to/backup.md", "velero"): KUBERNETES,
    ("docs/how-to/backup.md", "qiskit-runtime-server backup"): "needs PostgreSQL; test_backup.py types the same",
    ("docs/how-to/scale-executors.md", "kubectl"): KUBERNETES,
    ("docs/how-to/choose-an-executor.md", "qiskit-runtime-server serve"): "needs qsimcirq; test_auto.py serves it",
    ("docs/how-to/choose-an-executor.md", "QRS_AUTO"): "needs qsimcirq and a GPU; test_auto.py has the settings",
    ("docs/how-to/choose-an-executor.md", "backend ="): FRAGMENT,
    ("docs/how-to/choose-an-executor.md", "job.metrics"): FRAGMENT,
    ("docs/how-to/choose-an-executor.md", "named ="): FRAGMENT,
    ("docs/how-to/connect.md", "cc examples/jobs.c"): "needs libcurl's headers; test_c_client.py builds and runs it",
    ("docs/how-to/connect.md", "pip install"): "installs packages; test_conformance.py runs the same checks",
    ("docs/how-to/ecosystem.md", "pip install"): INSTALLS,
    ("docs/how-to/gpu.md", "pip install"): GPU,
    ("docs/how-to/gpu.md", "qiskit-runtime-server"): GPU,
    ("docs/how-to/gpu.md", "export QRS_EXECUTOR_OPTIONS"): GPU,
    ("docs/how-to/gpu.md", "from qiskit_runtime_server.executors.custatevec"): GPU,
    ("docs/how-to/gpu.md", "mpirun"): GPU,
    ("docs/how-to/gpu.md", "make gpu-test"): GPU,
    ("docs/how-to/qsim.md", "pip install"): INSTALLS,
    ("docs/how-to/qsim.md", "qiskit-runtime-server serve"): "needs qsimcirq; test_qsim.py serves it",
    ("docs/how-to/qsim.md", "export QRS_EXECUTOR_OPTIONS"): "needs qsimcirq; test_qsim.py sets options",
    ("docs/how-to/ingress.md", "kubectl"): KUBERNETES,
    ("docs/how-to/monitor.md", "helm upgrade"): KUBERNETES,
    ("docs/how-to/cluster-policies.md", "helm upgrade"): KUBERNETES,
    ("docs/how-to/production.md", "# once"): "needs PostgreSQL; the engineer in test_first_day.py types it",
    ("docs/how-to/production.md", "# 1. every api"): "needs keys in files; test_two_keys.py restarts processes so",
    ("docs/how-to/production.md", "export QRS_DATABASE_URL"): "needs PgBouncer; test_postgresql.py has the settings",
    (
        "docs/how-to/release.md",
        "cosign verify-blob",
    ): "needs a published release; test_release.py verifies one with a key",
    (
        "docs/how-to/run-in-a-container.md",
        "docker",
    ): "needs Docker; test_serve_image.py and test_compose.py run the images",
    ("docs/how-to/run-on-kubernetes.md", ""): KUBERNETES,
    ("docs/how-to/sign-in.md", "from qiskit_runtime_server.client"): "needs a pod; test_sign_in.py has its token",
    ("docs/how-to/sign-in.md", "helm upgrade"): KUBERNETES,
    ("docs/how-to/sign-in.md", "export QRS_AUTH"): "needs an OpenID provider; test_sign_in.py plays one",
    ("docs/how-to/sign-in.md", "c.JupyterHub"): "is JupyterHub's configuration; test_sign_in.py starts one",
    ("docs/how-to/traces.md", "pip install"): INSTALLS,
    ("docs/how-to/watch-jobs.md", "qiskit-runtime-server jobs"): "needs a job's id; test_people_commands.py types them",
    ("docs/how-to/write-an-executor.md", "import pytest"): "needs the package; test_plugin.py runs such tests",
    ("docs/how-to/slurm.md", ""): "needs QRMI; test_clients.py runs it in an environment of its own",
    (
        "docs/how-to/write-an-executor.md",
        "qiskit-runtime-server serve",
    ): "needs the package; test_service.py installs one",
    (
        "docs/how-to/write-an-executor.md",
        "qiskit-runtime-server executor plain",
    ): "needs the package; test_custatevec.py asks the doctor about a plug-in",
    (
        "docs/how-to/write-an-executor.md",
        "import uvicorn",
    ): "needs the package; test_memory.py serves such an application",
    ("docs/reference/executor-program.md", "from qiskit_ibm_runtime"): FRAGMENT,
    (
        "docs/tutorial/first-counts.md",
        "make demo",
    ): "test_the_demo_runs_once_and_leaves_nothing_behind runs what it runs",
    ("docs/tutorial/first-counts.md", ". .venv/bin/activate"): "the environment of the tests stands for it",
    ("docs/tutorial/kubernetes.md", ""): KUBERNETES,
    (
        "docs/tutorial/utility-scale.md",
        "python examples/utility_scale.py --svg",
    ): "takes a minute; test_utility_scale.py compares the same script on fewer qubits with exact values",
}
"""Why a block is not run, by its page and its first words; all blocks of a page if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: Relative to the repository.
        number: On the page, from 0.
    """

    page: str
    number: int
    language: str
    text: str

    @property
    def reason(self) -> str | None:
        """Why no test runs it; None if one does."""
        return next(
            (why for (page, first), why in NOT_RUN.items() if self.page == page and self.text.startswith(first)), None
        )

    @property
    def serves(self) -> bool:
        """Whether it starts a server, and so does not end."""
        return "qiskit-runtime-server serve" in self.text or "uvicorn.run" in self.text


def blocks(page: Path) -> Iterator[Block]:
    """Yield the shell commands and Python programs of a page."""
    for number, match in enumerate(FENCE.finditer(page.read_text())):
        if match[1] in {"bash", "python"}:
            yield Block(page=str(page.relative_to(ROOT)), number=number, language=match[1], text=match[2])
