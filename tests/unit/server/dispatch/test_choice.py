"""On which of several executors a job is run: the rule alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.routing.choice import Waits, better, choose
from qiskit_runtime_server.messages.messages import Prediction

AER, QSIM, GPU = (ExecutorName(name) for name in ("aer", "qsim", "gpu"))
SIZES = {AER: 28, QSIM: 29, GPU: 33}


def predicted(**seconds: float | str | None) -> dict[str, Prediction]:
    """Return predictions; texts are refusals."""
    return {
        name: Prediction(refusal=each) if isinstance(each, str) else Prediction(seconds=each)
        for name, each in seconds.items()
    }


def waits(aer: float | None = 0.0, qsim: float | None = 0.0, gpu: float | None = 0.0) -> Waits:
    return {AER: aer, QSIM: qsim, GPU: gpu}


@pytest.mark.parametrize(
    ("predictions", "waiting", "expected"),
    [
        pytest.param(predicted(aer=13.0, qsim=1.0, gpu=2.0), waits(), QSIM, id="where it takes least"),
        pytest.param(predicted(aer=0.01, qsim=0.01, gpu=0.005), waits(), AER, id="the preferred one, of equal ones"),
        pytest.param(predicted(aer=1.08, qsim=1.0, gpu=9.0), waits(), AER, id="a tenth of a second is no reason"),
        pytest.param(predicted(aer=13.0, qsim=1.0, gpu=2.0), waits(qsim=5.0), GPU, id="where it is done first"),
        pytest.param(predicted(aer=13.0, qsim=1.0, gpu=2.0), waits(qsim=50.0, gpu=60.0), AER, id="what is not busy"),
        pytest.param(predicted(aer="no", qsim="no", gpu=90.0), waits(gpu=1e4), GPU, id="the only one that can"),
        pytest.param(predicted(aer="no", qsim="no", gpu="no"), waits(), GPU, id="the largest one says why none can"),
        pytest.param(predicted(aer=13.0, qsim=1.0), waits(aer=9.0, qsim=None), AER, id="none that is away"),
        pytest.param(predicted(aer="no", qsim=1.0, gpu="no"), waits(qsim=None), QSIM, id="but for what no other can"),
        pytest.param({}, waits(aer=None), QSIM, id="the first that is here, if nothing is known"),
        pytest.param({}, waits(None, None, None), AER, id="the first, if none is here"),
        pytest.param(predicted(aer="no", qsim="no"), waits(), GPU, id="one that could not be asked, if no other can"),
        pytest.param(predicted(aer=13.0), waits(), AER, id="but not, if another can"),
        pytest.param(predicted(aer=None, qsim=None), waits(aer=30.0), QSIM, id="what waits less, of unknown times"),
    ],
)
def test_the_choice(predictions: dict[str, Prediction], waiting: Waits, expected: ExecutorName) -> None:
    assert choose(predictions, waiting, SIZES) == expected


SECONDS = st.none() | st.floats(0, 1e6) | st.just("no")
PREDICTIONS = st.fixed_dictionaries({}, optional=dict.fromkeys(SIZES, SECONDS)).map(lambda known: predicted(**known))
WAITS = st.fixed_dictionaries(dict.fromkeys(SIZES, st.none() | st.floats(0, 1e6)))


@given(PREDICTIONS, WAITS)
def test_a_choice_is_never_one_that_cannot_where_another_may(
    predictions: dict[str, Prediction], waiting: Waits
) -> None:
    chosen = choose(predictions, waiting, SIZES)
    refused = {name for name, each in predictions.items() if each.refusal}
    assert chosen not in refused or refused == set(SIZES)


@given(PREDICTIONS, WAITS)
def test_what_was_just_chosen_is_not_moved(predictions: dict[str, Prediction], waiting: Waits) -> None:
    """Else jobs would go to and fro."""
    chosen = choose(predictions, waiting, SIZES)
    target = better(chosen, predictions, waiting)
    assert target is None or waiting[chosen] is None


@given(PREDICTIONS, WAITS, st.sampled_from(list(SIZES)))
def test_what_was_moved_stays(predictions: dict[str, Prediction], waiting: Waits, job_on: ExecutorName) -> None:
    target = better(job_on, predictions, waiting)
    if target is not None:
        assert target != job_on
        assert better(target, predictions, waiting) is None


@pytest.mark.parametrize(
    ("predictions", "waiting", "expected"),
    [
        pytest.param(predicted(aer=13.0, qsim=1.0), waits(qsim=30.0), AER, id="to one that is free"),
        pytest.param(predicted(aer=13.0, qsim=1.0), waits(qsim=14.0), None, id="not for little"),
        pytest.param(predicted(aer=13.0, qsim=1.0), waits(aer=99.0, qsim=None), AER, id="from one that is away"),
        pytest.param(predicted(aer="no", qsim=1.0), waits(qsim=None), None, id="not to one that cannot"),
        pytest.param({}, waits(qsim=None), None, id="not to one of which nothing is known"),
        pytest.param(predicted(aer=1.0), waits(qsim=5.0), None, id="not from one of which nothing is known"),
    ],
)
def test_what_waits_on_qsim_is_moved(
    predictions: dict[str, Prediction], waiting: Waits, expected: ExecutorName | None
) -> None:
    assert better(QSIM, predictions, waiting) == expected
