"""Other keys: the order in which Secret and pods come to them, on a real API server with its Deployment controller."""

import time
from base64 import b64decode

from kit.kubernetes.client import KubernetesClient, Manifest, eventually, unchanged
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import StartOperator
from kit.kubernetes.ready_pods import ready_pods

ROTATE = "runtimeserver.dev/rotate-keys"
CHECKSUM = "runtimeserver.dev/keys-checksum"
NAMES = {"signing-key", "executor-key", "load-key"}
SHORT = {"settings": {"QRS_ACCESS_TOKEN_LIFETIME": "1s"}}


def ask(lab: Lab, value: str) -> None:
    lab.kubernetes.merge("RuntimeServer", lab.name, {"metadata": {"annotations": {ROTATE: value}}})


def keys(lab: Lab) -> dict[str, str]:
    data = lab.part("Secret", "keys")["data"]
    return {name: b64decode(value).decode() for name, value in data.items()}


def pods(lab: Lab) -> list[Manifest]:
    return lab.kubernetes.list("Pod", selector=f"app.kubernetes.io/instance={lab.name}")


def checksums(lab: Lab) -> set[str]:
    """Return what tells which keys the pods have."""
    return {pod["metadata"]["annotations"][CHECKSUM] for pod in pods(lab)}


def wanted_checksums(lab: Lab) -> set[str]:
    """Return what tells which keys the pods that are made now get."""
    parts = [lab.find("Deployment", name) for name in ("api", "executor-aer")]
    return {part["spec"]["template"]["metadata"]["annotations"][CHECKSUM] for part in parts if part}


def rolled(lab: Lab) -> set[str] | None:
    """Return what tells which keys the pods have, once all have those of the Deployments."""
    found = checksums(lab)
    return found if len(found) == 1 and found == wanted_checksums(lab) and len(pods(lab)) == 2 else None


def drain_slowly(lab: Lab) -> str:
    """Have the pod of the executor stay about when it is deleted, as one with a long job does, and return its name."""
    (name,) = (pod["metadata"]["name"] for pod in pods(lab) if "executor" in pod["metadata"]["name"])
    lab.kubernetes.merge("Pod", name, {"metadata": {"finalizers": ["example.org/drains"]}})
    return str(name)


def test_all_pods_accept_the_next_keys_before_one_uses_them_also_if_the_operator_ends_in_between(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    operator = start_operator()
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply(api=SHORT)
    lab.settled()
    with ready_pods(kubernetes):
        _change_across_two_operators(lab, start_operator)


def _change_across_two_operators(lab: Lab, start_operator: StartOperator) -> None:
    before = eventually(lambda: rolled(lab))
    first = keys(lab)
    assert first.keys() == NAMES
    slow = drain_slowly(lab)
    ask(lab, "May")
    announced = eventually(lambda: len(found := keys(lab)) == 6 and found)
    assert first.items() <= announced.items()
    assert len({*announced.values()}) == 6
    # Both Deployments are rolled out, and one old pod still has a job.
    eventually(lambda: len(pods(lab)) == 3 and len(checksums(lab) - before) == 1)
    assert unchanged(lambda: keys(lab), seconds=5) == announced
    lab.operator.stop()
    following = start_operator("operator-1")
    following.wait_until_leading()
    assert unchanged(lambda: keys(lab), seconds=3) == announced
    second = checksums(lab) - before
    lab.kubernetes.merge("Pod", slow, {"metadata": {"finalizers": None}})
    changed = eventually(lambda: (found := keys(lab)) != announced and found)
    assert changed == {
        **{name: announced[f"{name}-also"] for name in NAMES},
        **{f"{name}-also": announced[name] for name in NAMES},
    }
    third = eventually(lambda: not (found := rolled(lab) or before) & (before | second) and found)
    assert len(third) == 1
    told = sorted(reason for reason, _ in lab.events() if reason.startswith("Keys"))
    assert told == ["KeysAnnounced", "KeysChanged"]
    assert unchanged(lambda: keys(lab), seconds=3) == changed


def test_keys_that_may_not_be_made_again_leave_the_pods_that_have_the_old_ones(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    often = {"QRO_RESYNC": "2"}
    operator = start_operator(**often)
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    before = eventually(lambda: rolled(lab))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}}
    spec = {"hard": {"count/secrets": "0"}}
    kubernetes.apply({**quota, "spec": spec})
    eventually(lambda: kubernetes.get("ResourceQuota", "quota").get("status", {}).get("hard") == spec["hard"])
    lab.delete("Secret", "keys")
    eventually(lambda: "Secret lab-keys" in lab.condition("Degraded")["message"])
    assert rolled(lab) == before
    operator.stop()
    following = start_operator("operator-1", **often)
    following.wait_until_leading()
    eventually(lambda: following.metric("qro_reconcile_errors_total", error="RefusedError"))
    assert rolled(lab) == before
    kubernetes.delete("ResourceQuota", "quota")
    lab.apply(api={"settings": {"QRS_LOG_LEVEL": "debug"}})
    eventually(lambda: lab.find("Secret", "keys"))
    eventually(lambda: not wanted_checksums(lab) & before)


def test_the_next_change_forgets_the_keys_before_the_last_and_one_request_is_one_change(lab: Lab) -> None:
    lab.apply(api=SHORT)
    lab.settled()
    with ready_pods(lab.kubernetes, f"app.kubernetes.io/instance={lab.name}"):
        _change_twice(lab)


def _change_twice(lab: Lab) -> None:
    eventually(lambda: rolled(lab))
    first = keys(lab)
    ask(lab, "May")
    changed = eventually(lambda: (found := keys(lab)).get("signing-key") != first["signing-key"] and found)
    eventually(lambda: rolled(lab))
    time.sleep(1.5)
    assert keys(lab) == changed
    ask(lab, "June")
    last = eventually(lambda: (found := keys(lab))["signing-key"] != changed["signing-key"] and found)
    assert {name: last[f"{name}-also"] for name in NAMES} == {name: changed[name] for name in NAMES}
    assert not {*first.values()} & {*last.values()}


def test_pods_get_a_second_key_only_while_there_is_one(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    for part in ("api", "executor-aer"):
        (container,) = lab.part("Deployment", part)["spec"]["template"]["spec"]["containers"]
        sources = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in container["env"] if "valueFrom" in item}
        second = {name: source for name, source in sources.items() if name.endswith("_ALSO")}
        assert {f"{name}_ALSO" for name in sources} >= second.keys()
        assert second
        assert all(source["optional"] and source["key"].endswith("-also") for source in second.values())
