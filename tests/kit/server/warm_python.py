"""A Python that has imported what programs of users import, which takes seconds of a core each time.

    with warm_python(folder) as python:
        subprocess.run([python, "examples/sampler.py"])

One process imports, and is forked for each program. To whoever starts it, such a program is a process as any other: it
has the arguments, the variables, the folder and the files that it was given, and an exit code. To itself it differs in
two ways: what libraries read when they are imported, as the HOME where the client looks for accounts, is that of the
tests, and it ends with the command that started it.

    a test ── runs ──▶ the command ── arguments, variables, folder, files ──▶ a keeper, forked for it
                              ◀──────────── exit code ──────────────────── └─ the program, forked again
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

IMPORTED = (
    "qiskit.circuit.library",
    "qiskit.primitives",
    "qiskit.transpiler.preset_passmanagers",
    "qiskit_aer.noise",
    "qiskit_ibm_runtime.executor_estimator",
    "qiskit_ibm_runtime.executor_sampler",
    "qiskit_ibm_runtime.noise_learner",
    "qiskit_ibm_runtime.noise_learner_v3",
    "qiskit_runtime_server.command_line.accounts",
    "qiskit_runtime_server.command_line.help",
    "qiskit_runtime_server.command_line.jobs",
    "qiskit_runtime_server.command_line.people",
    "qiskit_runtime_server.command_line.usage",
    "qiskit_runtime_server.conformance.jobs",
    "qiskit_runtime_server.conformance.options",
    "qiskit_runtime_server.conformance.programs",
    "qiskit_runtime_server.conformance.reports",
    "qiskit_runtime_server.conformance.rest",
    "qiskit_runtime_server.roles.api",
)
"""What programs of users and our own commands import, but for the modules that are run: these begin anew."""

_MOST_BYTES = 2**20
# It imports little, and reads no variable of Python's, which are for the program.
_COMMAND = """#!{python} -IS
import json, os, signal, socket, sys

with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as keeper:
    keeper.connect({address!r})
    asked = [sys.argv[1:], dict(os.environ), os.getcwd()]
    socket.send_fds(keeper, [json.dumps(asked).encode()], [0, 1, 2])
    code = int(keeper.recv(16))
if code < 0:
    if -code in (signal.SIGINT, signal.SIGPIPE):  # which Python does not leave to the kernel
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def warm_python(folder: Path, imported: Sequence[str] = IMPORTED) -> Iterator[str]:
    """Yield a command that takes a script, `-m` or `-c`, and arguments, as Python does.

    Where the kernel is not Linux, it is Python itself.
    """
    if sys.platform != "linux":
        yield sys.executable
        return
    address, command = folder / "socket", folder / "python"
    command.write_text(_COMMAND.format(python=sys.executable, address=str(address)))
    command.chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(address))
        listener.listen()
        number = listener.fileno()
        program = [sys.executable, __file__, str(number), *imported]
        # It ends with its standard input, and so with the tests, however they end.
        with subprocess.Popen(program, stdin=subprocess.PIPE, pass_fds=[number]):
            yield str(command)


def _serve(listener: socket.socket) -> tuple[list[str], dict[str, str], str]:
    """Fork for each program. Return what it is, in the process that is to run it; end this one with its input."""
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection = listener.accept()[0]
        if os.fork() == 0:
            listener.close()
            return _kept(connection)
        connection.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    os._exit(0)


def _kept(connection: socket.socket) -> tuple[list[str], dict[str, str], str]:
    """Return, in a further fork, the program that is asked for, with its files in place; say here how it ended."""
    asked, files, *_ = socket.recv_fds(connection, _MOST_BYTES, 3)
    if (program := os.fork()) == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        arguments, variables, folder = json.loads(asked)
        return arguments, variables, folder
    for file in files:
        os.close(file)
    if connection.fileno() in select.select([os.pidfd_open(program), connection.fileno()], [], [])[0]:
        os.kill(program, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    with suppress(BrokenPipeError):
        connection.send(str(code).encode())
    os._exit(0)


def _run(arguments: Sequence[str], variables: dict[str, str], folder: str) -> None:
    """Run a program as Python's command line does; what it raises ends this process as it would end that one."""
    first, *others = arguments
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    beside = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = ["", *beside, *(path for path in sys.path if path not in own)]
    sys.stdout.reconfigure(write_through=bool(variables.get("PYTHONUNBUFFERED")))  # type: ignore[union-attr]
    if first == "-m":
        sys.argv[:] = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv[:] = ["-c", *others[1:]]
        exec(compile(others[0], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - what the command is for
    else:
        sys.argv[:] = arguments
        sys.path[0] = str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


def _main(listener: str, *imported: str) -> None:
    code = 0

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    # Of all that is called at the end it is the last. To take apart all modules costs a tenth of a second.
    atexit.register(leave)
    # The folder of this module, which no program has.
    del sys.path[0]
    try:
        for name in imported:
            import_module(name)
        # What has been imported stays: to look through it for garbage would copy it in each fork.
        gc.freeze()
        _run(*_serve(socket.socket(fileno=int(listener))))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except KeyboardInterrupt:
        # It ends by a signal, which Python sends after all that.
        atexit.unregister(leave)
        raise
    except BaseException:
        code = 1
        raise


if __name__ == "__main__":
    _main(*sys.argv[1:])
