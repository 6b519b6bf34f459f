"""Executor services with certificates of a private authority, which apis are told to trust."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.server.certificates import Authority, self_signed
from kit.server.cluster_processes import Cluster, wait_until
from kit.server.http_jobs import end_of, signed_in, submit_named, when
from kit.server.remote_pools import pool_of
from qiskit_runtime_server.dispatch.remote import pool as remote_pool

WhyNotHeard = Callable[..., str]


@pytest.fixture
def why_not_heard(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> WhyNotHeard:
    """Return a function that returns what an api says of an executor that it has looked for and does not hear."""
    monkeypatch.setattr(remote_pool, "_COMES_UP_SECONDS", 0)

    async def said(url: str, **trust: Any) -> str:
        caplog.clear()
        async with pool_of(url, **trust) as pool, asyncio.timeout(60):
            while "does not answer at https://127.0.0.1:" not in caplog.text:  # noqa: ASYNC110 - the log tells nobody
                await asyncio.sleep(0.02)
            assert pool.size == 0
        return caplog.text

    return lambda url, **trust: asyncio.run(said(url, **trust))


@pytest.mark.slow
def test_a_job_runs_over_tls_where_name_and_authority_are_right(
    cluster: Cluster, tmp_path: Path, why_not_heard: WhyNotHeard
) -> None:
    right = self_signed(tmp_path / "right.pem")
    wrong = self_signed(tmp_path / "wrong.pem", names=["elsewhere"])  # Also for 127.0.0.1, which no URL names.
    executor = cluster.executor(QRS_TLS_CERTIFICATE=str(right), QRS_TLS_KEY=str(right))
    other = cluster.executor(QRS_TLS_CERTIFICATE=str(wrong), QRS_TLS_KEY=str(wrong))
    assert executor.url.startswith("https://127.0.0.1:")
    by_name, of_other = (found.url.replace("127.0.0.1", "localhost") for found in (executor, other))
    api = cluster.api(by_name, QRS_EXECUTOR_CA=str(right))
    with signed_in(api.url) as client:
        assert end_of(client, submit_named(client, "zeros"), seconds=120)["status"] == "Completed"
    for url, authority in ((by_name, None), (by_name, wrong), (of_other, wrong)):
        said = why_not_heard(url, executor_ca=authority)
        assert "certificate verify failed" in said
        assert ("Hostname mismatch" in said) == (url is of_other)


def of_executor(own: Path, clients: Path) -> dict[str, Any]:
    return {"QRS_TLS_CERTIFICATE": str(own), "QRS_TLS_KEY": str(own), "QRS_TLS_CLIENT_CA": str(clients)}


def of_api(own: Path | None, executors: Path) -> dict[str, Any]:
    file = None if own is None else str(own)
    return {
        "QRS_EXECUTOR_CERTIFICATE": file,
        "QRS_EXECUTOR_CERTIFICATE_KEY": file,
        "QRS_EXECUTOR_CA": str(executors),
    }


def answer_to(own: Path | None, url: str, trusted: Path) -> int | None:
    """Return the status with which an executor answers who shows this certificate; None if it hangs up."""
    context = ssl.create_default_context(cafile=trusted)
    if own is not None:
        context.load_cert_chain(own)
    try:
        return httpx.get(f"{url}/health", verify=context).status_code
    except httpx.TransportError:
        return None


@pytest.mark.slow
def test_an_executor_that_asks_for_certificates_hears_nobody_without_one_of_its_authority(
    cluster: Cluster, tmp_path: Path, why_not_heard: WhyNotHeard
) -> None:
    authority, other = Authority(tmp_path / "authority.pem"), Authority(tmp_path / "other.pem")
    right = authority.for_client(tmp_path / "api.pem")
    of_other = other.for_client(tmp_path / "stranger.pem")
    server = authority.for_server(tmp_path / "executor.pem")
    executor = cluster.executor(QRS_INTERNAL_PORT="0", **of_executor(server, authority.file))
    url = executor.url.replace("127.0.0.1", "localhost")
    # What an executor proves is another thing than what an api does.
    shown = (right, None, of_other, server)
    assert [answer_to(own, url, authority.file) for own in shown] == [200, None, None, None]
    # Supervisors have no certificate.
    assert [httpx.get(f"{executor.internal_url}/health/{probe}").status_code for probe in ("live", "ready")] == [
        200
    ] * 2
    api = cluster.api(url, **of_api(right, authority.file))
    with signed_in(api.url) as client:
        assert end_of(client, submit_named(client, "zeros"), seconds=120)["status"] == "Completed"
    for own, trusted in ((None, authority), (of_other, authority), (right, other)):
        said = why_not_heard(url, executor_ca=trusted.file, executor_certificate=own, executor_certificate_key=own)
        assert ("certificate verify failed" in said) == (trusted is other)


@pytest.mark.slow
def test_other_certificates_of_another_authority_are_taken_up_while_a_job_runs(
    cluster: Cluster, tmp_path: Path, reserved_port: int
) -> None:
    old, new = Authority(tmp_path / "old.pem"), Authority(tmp_path / "new.pem")
    trusted_by_executor, trusted_by_api = tmp_path / "clients.pem", tmp_path / "servers.pem"
    for file in (trusted_by_executor, trusted_by_api):
        file.write_bytes(old.file.read_bytes())
    of_server, of_client = old.for_server(tmp_path / "executor.pem"), old.for_client(tmp_path / "api.pem")
    executor = cluster.executor(**of_executor(of_server, trusted_by_executor))
    url = executor.url.replace("127.0.0.1", "localhost")
    # Its host will have a second executor, which knows the new authority only.
    api = cluster.api(url, f"https://localhost:{reserved_port}", **of_api(of_client, trusted_by_api))

    def both_have_read(times: int) -> None:
        wait_until(
            lambda: all(
                sum("used from now on" in line for line in process.output) >= times for process in (api, executor)
            )
        )

    with signed_in(api.url) as client:
        held = submit_named(client, cluster.held)
        when(client, held, {"Running"})
        for file in (trusted_by_executor, trusted_by_api):
            file.write_bytes(old.file.read_bytes() + new.file.read_bytes())
        both_have_read(1)
        new.for_server(of_server)
        new.for_client(of_client)
        both_have_read(2)
        trusted_by_executor.write_bytes(new.file.read_bytes())
        wait_until(lambda: answer_to(old.for_client(tmp_path / "former.pem"), url, new.file) is None)
        assert answer_to(of_client, url, new.file) == 200
        of_second = new.for_server(tmp_path / "second.pem")
        second = cluster.executor(f"--port={reserved_port}", **of_executor(of_second, new.file))
        job = submit_named(client, "zeros")
        assert end_of(client, job, seconds=120)["status"] == "Completed"
        assert second.process.pid in cluster.starts("zeros")
        cluster.let_go()
        assert end_of(client, held)["status"] == "Completed"
    assert cluster.starts(cluster.held) == [executor.process.pid]
    assert not [line for line in api.output if "begins again" in line or "The stream of job" in line]
