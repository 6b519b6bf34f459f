"""How often an object is set back."""

from datetime import UTC, datetime, timedelta

from qiskit_runtime_operator.run.repairs import BURST, REFILL, TELL, Occurrences, Repairs
from qiskit_runtime_operator.watch.inventory import Ref

REF = Ref("Service", "research", "lab-api")
OTHER = Ref("Deployment", "research", "lab-api")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def exhausted() -> Repairs:
    repairs = Repairs()
    for _ in range(BURST):
        assert repairs.may(REF, NOW)
        repairs.done(REF, NOW)
        repairs.name(REF, ("argocd",))
    return repairs


def test_a_burst_of_repairs_is_made_and_then_one_each_minute() -> None:
    repairs = exhausted()
    assert not repairs.may(REF, NOW + REFILL * 0.9)
    assert repairs.may(REF, NOW + REFILL)
    repairs.done(REF, NOW + REFILL)
    assert not repairs.may(REF, NOW + REFILL * 1.9)


def test_one_object_does_not_suffer_for_another() -> None:
    repairs = exhausted()
    assert repairs.may(OTHER, NOW)
    assert repairs.contested_by(OTHER, NOW) is None


def test_a_contest_is_told_until_half_of_the_tokens_are_back() -> None:
    repairs = exhausted()
    assert repairs.contested_by(REF, NOW) == "argocd"
    assert repairs.contested_by(REF, NOW + REFILL * (BURST / 2 - 0.1)) == "argocd"
    assert repairs.contested_by(REF, NOW + REFILL * BURST / 2) is None


def test_single_repairs_are_no_contest() -> None:
    repairs = Repairs()
    for minute in range(100):
        repairs.done(REF, NOW + REFILL * minute)
        assert repairs.contested_by(REF, NOW + REFILL * minute) is None


def test_who_deletes_has_no_name() -> None:
    repairs = Repairs()
    for _ in range(BURST):
        repairs.done(REF, NOW)
    assert repairs.contested_by(REF, NOW) == "somebody"
    repairs.forget(REF)
    assert repairs.contested_by(REF, NOW) is None


def test_occurrences_are_told_at_once_and_then_together() -> None:
    occurrences = Occurrences()
    assert occurrences.due("it", NOW) == 1
    assert [occurrences.due("it", NOW + timedelta(seconds=second)) for second in range(1, 5)] == [0, 0, 0, 0]
    assert occurrences.due("other", NOW) == 1
    assert occurrences.due("it", NOW + TELL) == 5
    assert occurrences.due("it", NOW + TELL * 3) == 1
