"""Executor services with certificates of a private authority, which apis are told to trust."""

from functools import partial
from pathlib import Path

import pytest

from kit.server.certificates import self_signed
from kit.server.cluster_processes import Cluster, wait_until
from kit.server.http_jobs import end_of, signed_in, submit_named
from kit.server.server_process import ServerProcess


def has_refused(api: ServerProcess) -> bool:
    return "certificate verify failed" in "".join(api.output)


@pytest.mark.slow
def test_a_job_runs_over_tls_where_name_and_authority_are_right(cluster: Cluster, tmp_path: Path) -> None:
    right = self_signed(tmp_path / "right.pem")
    wrong = self_signed(tmp_path / "wrong.pem", names=["elsewhere"])  # Also for 127.0.0.1, which no URL names.
    executor = cluster.executor(QRS_TLS_CERTIFICATE=str(right), QRS_TLS_KEY=str(right))
    other = cluster.executor(QRS_TLS_CERTIFICATE=str(wrong), QRS_TLS_KEY=str(wrong))
    assert executor.url.startswith("https://127.0.0.1:")
    by_name, of_other = (found.url.replace("127.0.0.1", "localhost") for found in (executor, other))
    api = cluster.api(by_name, QRS_EXECUTOR_CA=str(right))
    with signed_in(api.url) as client:
        assert end_of(client, submit_named(client, "zeros"), seconds=120)["status"] == "Completed"
    for number, (url, authority) in enumerate([(by_name, None), (by_name, str(wrong)), (of_other, str(wrong))]):
        refusing = cluster.begin(
            "api",
            "--port=0",
            f"--executors=counted={url}",
            f"--data-dir={tmp_path / str(number)}",
            QRS_EXECUTOR_CA=authority,
        )
        wait_until(partial(has_refused, refusing), seconds=120)
    assert "Hostname mismatch" in "".join(refusing.output)
