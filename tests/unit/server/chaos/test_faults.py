"""What words say happens to a job, and to whom it happens: the same for the same seed."""

import pytest

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.chaos.chaos import Chaos
from qiskit_runtime_server.chaos.faults import Fate, Faults
from qiskit_runtime_server.errors import InjectedError, MalformedRequestError, NotFoundError
from qiskit_runtime_server.jobs import AccountId

ALICE, BOB = AccountId("alice"), AccountId("bob")
BACKEND = "chaos_fake_manila@aer"


def fates(chaos: Chaos, faults: Faults, account: AccountId, jobs: int = 20) -> list[Fate]:
    return [faults.fate(chaos.next_seed(account)) for _ in range(jobs)]


def test_the_nth_job_of_an_account_meets_the_same_with_the_same_seed() -> None:
    faults = Faults().but(["queue=0..5", "run=1..2", "fail=1305+9999", "fail_rate=0.5"])
    first, again, other = Chaos(["*"], faults, 7), Chaos(["*"], faults, 7), Chaos(["*"], faults, 8)
    expected = fates(first, faults, ALICE)
    # What others send in between does not matter.
    fates(again, faults, BOB, 3)
    assert fates(again, faults, ALICE) == expected
    assert fates(other, faults, ALICE) != expected
    assert {fate.code for fate in expected} == {None, 1305, 9999}
    assert all(0 <= fate.queue_seconds <= 5 and 1 <= fate.run_seconds <= 2 for fate in expected)


def test_a_rate_is_how_often_a_job_fails() -> None:
    faults = Faults().but(["fail=8053", "fail_rate=0.25"])
    failed = sum(fate.code == 8053 for fate in fates(Chaos(["*"], faults), faults, ALICE, jobs=1000))
    assert 200 < failed < 300


def test_tags_change_only_what_they_say() -> None:
    faults = Faults().but(["run=1..3", "fail=1109"])
    tagged = faults.but_by_tags(["chaos:queue=2", "mine"])
    assert tagged.fate(5) == Fate(queue_seconds=2, run_seconds=faults.fate(5).run_seconds, code=1109)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("quue=1", "do you mean queue?"),
        ("run", "do you mean run?"),
        ("run=fast", "could not convert"),
        ("run=3..1", "the first bound is the larger one"),
        ("run=-1", "is not between 0 and"),
        ("run=nan", "is not between 0 and"),
        ("fail=99", "four digits"),
        ("status=404", "neither 429 nor 500 to 599"),
        ("fail_rate=2", "is not between 0 and 1"),
        ("retry_after=0.5", "invalid literal"),
        ("drift=0.1", "belongs to a device"),
    ],
)
def test_a_tag_that_makes_no_sense_is_refused_by_name(word: str, said: str) -> None:
    with pytest.raises(MalformedRequestError, match=said):
        Faults().but_by_tags([f"chaos:{word}"])


def answers(chaos: Chaos, tags: list[str], requests: list[object], backend: str = BACKEND) -> list[int]:
    """Return how requests are answered: 0 where no fault is met."""
    found = []
    for request in requests:
        try:
            chaos.check_request(ALICE, backend, tags, request)
        except InjectedError as error:
            found.append(error.status)
        else:
            found.append(0)
    return found


def test_a_request_is_refused_as_often_as_asked_and_then_answered() -> None:
    tags = ["chaos:status=503+429", "chaos:times=3"]
    assert answers(Chaos(["*"]), tags, [b"one"] * 5) == [503, 429, 503, 0, 503]
    assert answers(Chaos(["*"]), tags, [b"one", b"two", b"one"]) == [503, 503, 429]


def test_some_requests_are_refused_the_same_ones_for_the_same_seed() -> None:
    faults = Faults().but(["status=500", "status_rate=0.3"])
    requests: list[object] = [str(number) for number in range(200)]
    first = answers(Chaos(["*"], faults, 1), [], requests)
    assert first == answers(Chaos(["*"], faults, 1), [], requests)
    assert 40 < first.count(500) < 80


@pytest.mark.parametrize("backend", ["fake_manila@aer", "chaos_fake_torino@aer", "mock_manila@aer"])
def test_ordinary_devices_meet_nothing(backend: str) -> None:
    chaos = Chaos(["fake_manila"], Faults().but(["status=500", "fail=9999"]))
    assert not chaos.covers(backend)
    assert chaos.plain(backend) == backend
    assert answers(chaos, ["chaos:status=503"], [b"one"], backend) == [0]


def test_without_patterns_there_are_no_faults_at_all() -> None:
    names = Catalog().names()
    assert Chaos().names(names) == []
    assert Chaos(["fake_manila"]).names(names) == ["chaos_fake_manila"]
    assert not Chaos().covers(BACKEND)


def test_an_accounts_own_faults_are_its_own_and_count_from_one() -> None:
    chaos = Chaos(["*"], seed=3)
    first = [chaos.next_seed(ALICE) for _ in range(3)]
    chaos.set_faults(ALICE, ["status=500", "times=2"])
    assert [chaos.next_seed(ALICE) for _ in range(3)] == first
    assert answers(chaos, [], [b"one"] * 3) == [500, 500, 0]
    chaos.check_request(BOB, BACKEND, [], b"one")
    chaos.set_faults(ALICE, [])
    assert answers(chaos, [], [b"one"] * 2) == [0, 0]


def test_faults_are_set_only_where_there_are_any() -> None:
    with pytest.raises(NotFoundError, match="QRS_CHAOS"):
        Chaos().set_faults(ALICE, ["run=1"])
    with pytest.raises(MalformedRequestError, match="do you mean run"):
        Chaos(["*"]).set_faults(ALICE, ["runn=1"])
