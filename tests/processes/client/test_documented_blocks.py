"""The shell commands and Python programs of README and docs do what they are shown for."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kit.server.documented import PAGES, ROOT, Block, blocks
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import environment

SECONDS = 240
WALKS = {page: found for page in PAGES if (found := [block for block in blocks(page) if block.reason is None])}

# Each takes half a minute, and what it shows has tests of its own: test_examples.py runs what "first-counts" does, and
# test_first_day.py types what README does, in an environment that README's command has made.
THOROUGH = {"README", "add-devices", "first-counts", "monitor", "retention", "test-your-library", "utility-scale"}

# What a reader puts in for what only stands for something.
READERS = {
    "ibm_kingston": "fake_manila@aer",
    "0.0.0.0": "127.0.0.1",  # noqa: S104 - the tests listen on loopback only
    "QRS_INTERNAL_PORT=9090": "QRS_INTERNAL_PORT=0",
    "port=8000": "port=0",
}

# Servers run in a Python of their own.
COMMAND = """#!/bin/sh
case $1 in serve) exec {python} -m qiskit_runtime_server "$@";; *) exec {warm} -m qiskit_runtime_server "$@";; esac
"""


class Reader:
    """Somebody who goes through a page from its beginning to its end: a folder, a shell's variables, and a server."""

    def __init__(self, folder: Path, python: str, url: str) -> None:
        self.folder = folder
        self.url = url
        self.python = python
        self.internal_url = ""
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("QRS_")},
            **environment(url, "reader"),
            "HOME": str(folder / "home"),
            "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "QRS_PORT": "0",
            "QRS_EXECUTORS": "aer=1",  # each slot is a process more that imports for seconds
            "PYTHONUNBUFFERED": "1",
        }
        (folder / "home").mkdir()
        (folder / "bin").mkdir()
        (folder / "bin" / "python").symlink_to(python)
        command = folder / "bin" / "qiskit-runtime-server"
        command.write_text(COMMAND.format(python=sys.executable, warm=python))
        command.chmod(0o755)
        shutil.copytree(ROOT / "examples", folder / "examples")

    def text_of(self, block: Block) -> str:
        """Return a block with the reader's own values."""
        text = block.text
        for shown, own in READERS.items():
            text = text.replace(shown, own)
        if self.internal_url:
            text = text.replace("http://127.0.0.1:9090", self.internal_url)
        return text.replace("http://127.0.0.1:8000", self.url)

    def run(self, block: Block) -> str:
        """Run a block to its end, keep what it exports, and return what it says."""
        text = self.text_of(block)
        if block.language == "python":
            script = self.folder / f"block_{block.number}.py"
            script.write_text(text)
            command = [self.python, str(script)]
        else:
            command = ["bash", "-euc", f"{text}\nenv -0 > {self.folder / 'variables'}"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"
        if block.language == "bash":
            pairs = (self.folder / "variables").read_text().split("\0")
            self.variables |= dict(pair.split("=", 1) for pair in pairs if pair)
        return done.stdout

    @contextmanager
    def serving(self, block: Block) -> Iterator[None]:
        """Start the server that a block starts, and stop it in the end."""
        variables = self.folder / "variables"
        text = re.sub(
            r"^(?=.*qiskit-runtime-server serve)", f"env -0 > {variables}\n", self.text_of(block), flags=re.MULTILINE
        )
        process = subprocess.Popen(
            ["bash", "-euc", text],
            cwd=self.folder,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        server = ServerProcess(process, self.folder)
        try:
            server.wait_until_ready()
            self.url = server.url
            if "QRS_INTERNAL_PORT" in text:
                self.internal_url = server.internal_url
            pairs = variables.read_text().split("\0")
            self.variables |= dict(pair.split("=", 1) for pair in pairs if pair) | environment(server.url, "reader")
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(SECONDS)


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=[pytest.mark.thorough] if page.stem in THOROUGH else []) for page in WALKS],
)
def test_a_page_does_what_it_says(page: Path, python: str, server: ServerProcess, tmp_path: Path) -> None:
    reader = Reader(tmp_path, python, server.url)
    with ExitStack() as servers:
        for block in WALKS[page]:
            if block.serves:
                servers.close()
                servers.enter_context(reader.serving(block))
            else:
                assert reader.run(block) or not re.search(r"print|curl|accounts|examples", block.text), block.text
