"""Jobs for `@auto` behind an api and two executor services, one of which is killed."""

from kit.quantum.qsim_alone import needs_qsim
from kit.server.cluster_processes import Cluster, wait_until
from kit.server.http_jobs import end_of, long_circuit, signed_in, submit, when

BACKEND = "fake_quantum_sim@auto"

# For some seconds on qsim, ten times as long on aer.
DENSE = long_circuit(layers=40, num_qubits=22)


@needs_qsim
def test_what_waits_on_an_executor_that_is_killed_runs_on_the_other(cluster: Cluster) -> None:
    aer, qsim = cluster.executor(name="aer"), cluster.executor(name="qsim")
    executors = f"--executors=aer={aer.url} qsim={qsim.url}"
    api = cluster.begin("api", "--port=0", f"--data-dir={cluster.data_dir}", executors, "--log-level=info")
    api.wait_until_ready()
    with signed_in(api.url) as client:

        def metrics(job: str) -> dict[str, object]:
            found: dict[str, object] = client.get(f"/jobs/{job}/metrics").raise_for_status().json()
            return found

        wait_until(lambda: sum(each["slots"] for each in client.get("/executors").json()["executors"]) == 2)
        running = submit(client, DENSE, backend=BACKEND)
        when(client, running, {"Running"})
        assert metrics(running)["executor"] == "qsim"
        waiting = submit(client, DENSE, backend=BACKEND)
        wait_until(lambda: metrics(waiting)["executor"] == "qsim")
        qsim.process.kill()
        for job in (running, waiting):
            assert end_of(client, job, seconds=120)["status"] == "Completed"
            assert metrics(job)["executor"] == "aer"
        # A short one that is sent now does not wait for the other to come back.
        small = submit(client, long_circuit(layers=20, num_qubits=18), backend=BACKEND)
        assert end_of(client, small)["status"] == "Completed"
        assert metrics(small)["executor"] == "aer"
