"""Scenarios f and h: two apis on a database in the cluster, a node that loses power, and policies that are enforced."""

from collections.abc import Callable

from qiskit_ibm_runtime import SamplerV2

from kit.kubernetes.client import eventually
from kit.quantum.circuits import isa_bell
from node.figures import Figures
from node.node import ADDRESS, Node
from node.server_on_node import Lab, correct, long_circuit


def test_every_pod_has_the_memory_that_it_needs(clustered: Lab, node: Node, figures: Figures) -> None:
    backend = clustered.service().backend("fake_sherbrooke@aer")
    assert all(correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024)) for _ in range(10))

    def held_by_ours() -> dict[str, float]:
        held = {name: megabytes for name, megabytes in node.memory().items() if "postgresql" not in name}
        assert len(held) == 6  # two apis, two executors, two operators
        assert all(held.values()), "a young pod has none yet"
        return held

    held = eventually(held_by_ours)
    for name, megabytes in sorted(held.items()):
        figures.add(f"memory of the pod {name.rpartition('/')[2]}", megabytes, "MB")


def test_jobs_that_ran_or_waited_finish_after_the_node_lost_power(clustered: Lab, node: Node) -> None:
    backend = clustered.service().backend("fake_quantum_sim@aer")
    running = [SamplerV2(mode=backend).run([long_circuit(layers=20)], shots=100) for _ in range(2)]
    eventually(lambda: all(job.status() == "RUNNING" for job in running), 60)
    noisy = clustered.service().backend("fake_manila@aer")
    waiting = [SamplerV2(mode=noisy).run([isa_bell(noisy)], shots=1024) for _ in range(20)]
    node.stop_hard()
    node.start()
    service = clustered.service(seconds=240)
    assert all(correct(service.job(job.job_id())) for job in waiting)
    assert all(service.job(job.job_id()).result()[0].data.meas.num_shots == 100 for job in running)
    clustered.wait_for_rollout()


def test_an_executor_reaches_neither_the_api_server_nor_the_database_nor_anything_else(
    clustered: Lab, node: Node, reaches: Callable[..., bool]
) -> None:
    api, other_api = (pod["status"]["podIP"] for pod in clustered.pods("api"))
    executor = clustered.pods("executor-aer")[0]
    database = clustered.kubernetes.get("Pod", "lab-postgresql-0")["status"]["podIP"]
    forbidden = {
        "API server": ("10.96.0.1", 443),
        "database": (database, 5432),
        "node": (ADDRESS, 80),
        "api": (api, 8000),
    }
    name = executor["metadata"]["name"]
    assert all(reaches(name, *place) for place in forbidden.values())
    node.enforce_policies()
    eventually(lambda: not any(reaches(name, *place) for place in forbidden.values()), 120)
    api_name = clustered.pods("api")[0]["metadata"]["name"]
    assert reaches(api_name, executor["status"]["podIP"], 8080)
    assert not reaches(api_name, executor["status"]["podIP"], 9090)
    assert not reaches(api_name, other_api, 9090)
    backend = clustered.service().backend("fake_manila@aer")
    assert correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024))
    eventually(lambda: clustered.condition("Available")["status"] == "True", 60)
