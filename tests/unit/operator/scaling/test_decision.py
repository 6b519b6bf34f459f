"""How many pods an executor should have, by a simulated clock: what users were promised, for any load."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiskit_runtime_operator.resource.model import Autoscale
from qiskit_runtime_operator.scaling.decision import Decision, Demand, Memory, ScaleReason, Seen, decide, needed

START = datetime(2026, 11, 29, tzinfo=UTC)
POLICY = Autoscale(max_replicas=8, idle_seconds=60)
NOTHING = Demand(queued=0, running=0, busy=0)

counts = st.integers(0, 40)
demands = st.builds(
    lambda queued, running, busy: Demand(queued=queued, running=running, busy=min(busy, running)),
    counts,
    counts,
    st.integers(0, 8),
)
policies = st.builds(
    lambda low, more, per, idle, delay, percent: Autoscale(
        min_replicas=low,
        max_replicas=max(1, low + more),
        jobs_per_replica=per,
        idle_seconds=idle,
        scale_up_delay_seconds=delay,
        scale_down_percent=percent,
    ),
    st.integers(0, 3),
    st.integers(0, 9),
    st.none() | st.integers(1, 5),
    st.integers(0, 40),
    st.integers(0, 10),
    st.integers(1, 100),
)


def play(
    policy: Autoscale, demands: Iterable[Demand | None], *, slots: int = 1, replicas: int = 0, step: float = 1.0
) -> list[Decision]:
    """Return the decisions, one each `step` seconds; each is carried out at once."""
    memory: Memory | None = None
    decisions = []
    for moment, demand in enumerate(demands):
        now = START + timedelta(seconds=step) * moment
        seen = Seen(demand=demand, slots=slots, replicas=replicas, now=now)
        decision, memory = decide(policy, seen, memory)
        replicas = decision.replicas
        decisions.append(decision)
    return decisions


def replicas_of(decisions: Sequence[Decision]) -> list[int]:
    return [decision.replicas for decision in decisions]


def jobs(queued: int, running: int = 0, busy: int = 0, pending: str = "") -> Demand:
    return Demand(queued=queued, running=running, busy=busy, pending=pending)


def test_a_job_wakes_an_empty_pool_at_once() -> None:
    assert play(POLICY, [NOTHING, jobs(1)])[-1].replicas == 1


@pytest.mark.parametrize(("queued", "slots", "per", "wanted"), [(5, 4, None, 2), (5, 4, 1, 5), (50, 4, 2, 8)])
def test_jobs_fill_pods(queued: int, slots: int, per: int | None, wanted: int) -> None:
    policy = Autoscale(max_replicas=8, jobs_per_replica=per)
    assert needed(policy, slots, jobs(queued)) == wanted


def test_idle_pods_go_when_they_were_idle_for_the_whole_time() -> None:
    quiet = [jobs(3), *([NOTHING] * 59), jobs(1), *([NOTHING] * 62)]
    replicas = replicas_of(play(POLICY, quiet))
    assert replicas[60] == 3
    # The three of the beginning are not needed any more, the one of later is.
    assert replicas[61] == 1
    assert replicas[120] == 1
    assert replicas[121] == 0


def test_pods_that_are_there_at_first_count_as_needed_until_then() -> None:
    replicas = replicas_of(play(POLICY, [NOTHING] * 62, replicas=4))
    assert replicas[60] == 4
    assert replicas[61] == 0


def test_pods_go_in_steps() -> None:
    policy = Autoscale(max_replicas=8, idle_seconds=10, scale_down_percent=50)
    replicas = replicas_of(play(policy, [NOTHING] * 50, replicas=8))
    assert sorted(set(replicas), reverse=True) == [8, 4, 2, 1, 0]
    assert [replicas.count(number) for number in (4, 2, 1)] == [10, 10, 10]


def test_more_pods_are_no_answer_to_pods_that_find_no_node() -> None:
    decision = play(POLICY, [jobs(1), jobs(9, pending="0/3 nodes are available")])[-1]
    assert (decision.replicas, decision.reason) == (1, ScaleReason.PODS_PENDING)
    assert "0/3 nodes" in decision.message


def test_a_delay_is_waited_for() -> None:
    policy = Autoscale(max_replicas=8, scale_up_delay_seconds=5)
    decisions = play(policy, [jobs(2)] * 6)
    assert replicas_of(decisions) == [0, 0, 0, 0, 0, 2]
    assert decisions[0].reason is ScaleReason.DELAYED
    assert set(replicas_of(play(policy, [jobs(2), NOTHING] * 20))) == {0}


def test_what_is_not_known_changes_nothing_and_counts_as_busy() -> None:
    decisions = play(POLICY, [jobs(2), *([NOTHING] * 30), None, *([NOTHING] * 61)])
    assert replicas_of(decisions)[:-1] == [2] * 92
    assert decisions[31].reason is ScaleReason.LOAD_UNKNOWN
    assert decisions[-1].replicas == 0


def test_a_lower_maximum_waits_for_pods_with_jobs_only() -> None:
    policy = Autoscale(max_replicas=2)
    assert play(policy, [jobs(9, 3, busy=3)], replicas=6)[-1].replicas == 3
    assert play(policy, [jobs(9, 1, busy=1)], replicas=6)[-1].replicas == 2


@given(policies, st.lists(st.none() | demands, min_size=1, max_size=60), st.integers(0, 15), st.integers(1, 4))
def test_bounds_are_kept_and_no_pod_with_a_job_is_taken(
    policy: Autoscale, demands: list[Demand | None], replicas: int, slots: int
) -> None:
    before = replicas
    for demand, decision in zip(demands, play(policy, demands, slots=slots, replicas=replicas), strict=True):
        if demand is None:
            assert decision.replicas == before
        else:
            assert decision.replicas >= min(before, demand.busy)
            assert decision.replicas <= max(policy.max_replicas, min(before, demand.busy))
            assert decision.replicas >= min(policy.min_replicas, before)
        before = decision.replicas


@given(policies, demands, st.integers(0, 10), st.integers(1, 4))
def test_the_need_rises_with_the_queue(policy: Autoscale, demand: Demand, more: int, slots: int) -> None:
    longer = jobs(demand.queued + more, demand.running, demand.busy)
    assert needed(policy, slots, demand) <= needed(policy, slots, longer)


@given(policies, st.lists(demands, min_size=3, max_size=80), st.integers(1, 4))
def test_what_was_decided_is_monotone_in_the_queue(policy: Autoscale, demands: list[Demand], slots: int) -> None:
    more = [jobs(demand.queued + 1, demand.running, demand.busy) for demand in demands]
    fewer_replicas = replicas_of(play(replaced(policy), demands, slots=slots))
    more_replicas = replicas_of(play(replaced(policy), more, slots=slots))
    assert all(few <= many for few, many in zip(fewer_replicas, more_replicas, strict=True))


def replaced(policy: Autoscale) -> Autoscale:
    """Return the policy without delays, which depend on when a need began, and without steps."""
    return Autoscale(
        min_replicas=policy.min_replicas,
        max_replicas=policy.max_replicas,
        jobs_per_replica=policy.jobs_per_replica,
        idle_seconds=policy.idle_seconds,
    )


@given(policies, st.lists(demands, min_size=2, max_size=5), st.integers(1, 4))
def test_a_steady_load_turns_at_most_once_in_an_idle_period(
    policy: Autoscale, pattern: list[Demand], slots: int
) -> None:
    """A load that repeats itself within the idle time makes no pods come and go."""
    steady = replaced(policy)
    if steady.idle_seconds < len(pattern):
        return
    replicas = replicas_of(play(steady, pattern * 40, slots=slots))
    directions = [(now > before) - (now < before) for before, now in pairwise(replicas)]
    moves = [(moment, direction) for moment, direction in enumerate(directions) if direction]
    turns = [later for (_, first), (later, second) in pairwise(moves) if first != second]
    assert len(turns) <= 1


@given(policies, st.lists(demands, min_size=1, max_size=60), st.integers(1, 4))
def test_never_more_than_the_highest_need(policy: Autoscale, demands: list[Demand], slots: int) -> None:
    highest = 0
    for demand, decision in zip(demands, play(policy, demands, slots=slots), strict=True):
        highest = max(highest, needed(policy, slots, demand))
        assert decision.replicas <= highest


@given(policies, st.lists(demands, max_size=30), st.integers(1, 4))
def test_what_is_idle_comes_to_its_minimum(policy: Autoscale, demands: list[Demand], slots: int) -> None:
    steps = policy.max_replicas * (policy.idle_seconds + 1) + policy.idle_seconds + 2
    decisions = play(policy, [*demands, *([NOTHING] * (steps + policy.scale_up_delay_seconds))], slots=slots)
    assert decisions[-1].replicas == policy.min_replicas
