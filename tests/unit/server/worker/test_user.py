"""A worker of a server that root started is nobody's process, with whatever rights root has there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kit

OF_DOCKER = (
    "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write"
)
LEAVES_ROOT = """
import json, os, sys
from pathlib import Path
from qiskit_runtime_server.worker.confinement.user import leave_root
scratch, secret = map(Path, sys.argv[1:])
left = leave_root(scratch)
(scratch / "file").write_text("x")
rights = Path("/proc/self/status").read_text()
rights = {name: int(rights.partition(f"{name}:")[2].split()[0], 16) for name in ("CapPrm", "CapEff", "CapInh")}
print(json.dumps({"left": left, "users": os.getresuid() + os.getresgid(), "reads": secret.read_text(), **rights}))
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root has rights to give up (setpriv)"
)


@pytest.mark.parametrize(
    ("rights", "kept"),
    [("+all", 1 << 2), (f"-all,+{OF_DOCKER.replace(',', ',+')}", 1 << 1), ("-all", None), ("-setuid", None)],
)
def test_root_is_left_where_it_can_be_and_files_are_read(tmp_path: Path, rights: str, kept: int | None) -> None:
    scratch, secret = tmp_path / "home" / "scratch", tmp_path / "secret"
    scratch.mkdir(parents=True, mode=0o700)
    scratch.parent.chmod(0o700)
    secret.write_text("of root")
    secret.chmod(0o600)
    command = ["setpriv", "--bounding-set", rights, sys.executable, "-c", LEAVES_ROOT, str(scratch), str(secret)]
    said = subprocess.run(command, env=kit.environment(), capture_output=True, text=True, check=True).stdout
    found = json.loads(said)
    assert found["reads"] == "of root"
    if kept is None:
        assert (found["left"], set(found["users"])) == (False, {0})
    else:
        assert (found["left"], set(found["users"])) == (True, {65534})
        assert (found["CapPrm"], found["CapEff"], found["CapInh"]) == (kept, kept, 0)
