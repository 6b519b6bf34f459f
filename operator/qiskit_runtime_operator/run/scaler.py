"""Carries out what was decided on the number of pods of executors with `autoscale`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import RefusedError, StaleError
from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.replicas import is_scaled_elsewhere, scaled_elsewhere
from qiskit_runtime_operator.resource.kinds import PODS
from qiskit_runtime_operator.resource.model import Executor, Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import DELETION_COST, EXECUTOR_LABEL, executor_name
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler, replicas_of, scaled
from qiskit_runtime_operator.scaling.decision import Decision, ScaleReason
from qiskit_runtime_operator.scaling.load import Load
from qiskit_runtime_operator.status.refusals import write_refused
from qiskit_runtime_operator.status.status import Refusal
from qiskit_runtime_operator.watch.inventory import Inventory


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An executor that gets another number of pods."""

    executor: Executor
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Stands between the autoscaler, which decides, and the passes over RuntimeServers.

    Attributes:
        cluster: Where pods are marked.
        inventory: What is there.
        autoscaler: Decides.
    """

    cluster: Cluster
    inventory: Inventory
    autoscaler: Autoscaler

    def rescale(self, server: RuntimeServer, load: Load | None, now: datetime) -> bool:
        """Decide anew, and tell whether a pass is due to carry it out."""
        deployments = self._deployments(server)
        asked = {executor_name(server.name, executor.name): executor.asked for executor in scaled(server)}
        elsewhere = [name for name, then in scaled_elsewhere(deployments.values()).items() if asked.get(name) == then]
        return self.autoscaler.look(server, deployments.values(), self._pods(server), load, now, elsewhere=elsewhere)

    def decided(self, server: RuntimeServer) -> Mapping[str, int]:
        """Return how many pods the executors with `autoscale` get, by the name of their Deployment.

        Until something is decided that is what there is, so that a restart of the operator changes nothing.
        """
        names = {e.name: executor_name(server.name, e.name) for e in server.spec.executors if e.autoscale is not None}
        if not names:
            return {}
        decisions, there = self.autoscaler.decisions(server.key), self._deployments(server)
        return {
            deployment: decisions[name].replicas if name in decisions else replicas_of(there[deployment], 0)
            for name, deployment in names.items()
            if name in decisions or deployment in there
        }

    def shown(self, server: RuntimeServer, context: RenderContext) -> Mapping[str, Decision]:
        """Return the decisions as the status shows them, by the name of the executor."""
        decisions = self.autoscaler.decisions(server.key)
        return {
            executor.name: _elsewhere(decisions[executor.name])
            if is_scaled_elsewhere(executor_name(server.name, executor.name), executor, context)
            else decisions[executor.name]
            for executor in server.spec.executors
            if executor.name in decisions
        }

    def changes(self, server: RuntimeServer, context: RenderContext) -> Iterator[Change]:
        """Iterate over the executors that get another number of pods than they have by this pass."""
        executors = list(scaled(server))
        there = self._deployments(server) if executors else {}
        for executor in executors:
            name = executor_name(server.name, executor.name)
            if name in there and name in context.decided and not is_scaled_elsewhere(name, executor, context):
                change = Change(executor=executor, before=replicas_of(there[name], 0), after=context.decided[name])
                if change.before != change.after:
                    yield change

    async def spare(self, server: RuntimeServer, executor: Executor) -> Refusal | None:
        """Mark the pods of an executor that have jobs, so that Kubernetes removes others first."""
        busy = self.autoscaler.busy(server.key)
        for pod in self._pods(server):
            metadata = pod["metadata"]
            cost = str(busy.get(pod.get("status", {}).get("podIP", ""), 0))
            known = metadata.get("annotations", {}).get(DELETION_COST, "0")
            if metadata["labels"].get(EXECUTOR_LABEL) != executor.name or cost == known:
                continue
            names = {name: metadata[name] for name in ("name", "namespace")}
            mark = {"metadata": {**names, "annotations": {DELETION_COST: cost}}}
            try:
                await self.cluster.apply(PODS, {"apiVersion": "v1", "kind": "Pod", **mark}, uid=metadata["uid"])
            except StaleError:
                continue  # it is gone
            except RefusedError as error:
                return write_refused("Pod", metadata["name"], str(error))
        return None

    def _deployments(self, server: RuntimeServer) -> dict[str, Manifest]:
        known = self.inventory.parts(server.key, "Deployment")
        return {ref.name: part.body for ref, part in known if part.owner == server.uid}

    def _pods(self, server: RuntimeServer) -> list[Manifest]:
        return [part.body for _, part in self.inventory.parts(server.key, "Pod")]


def _elsewhere(decision: Decision) -> Decision:
    message = "The number of pods was set through the Deployment's scale, and stays as it is."
    return Decision(replicas=decision.replicas, reason=ScaleReason.SCALED_ELSEWHERE, message=message)
