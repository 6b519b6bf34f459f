"""A day of a class with the real decisions on a simulated clock: nobody waits long, and idle GPUs go."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from kit.kubernetes.class_day import HOUR, Lesson, Played, Pool, played
from kit.kubernetes.class_day_picture import picture

ROOT = Path(__file__).parents[4]
SVG = "{http://www.w3.org/2000/svg}"
# Two hours: half an hour of work in the middle.
LESSON = (Lesson(begin=0.5 * HOUR, end=HOUR, students=12),)


@pytest.fixture(scope="module")
def scaled() -> Played:
    return played(Pool(pods=3, autoscale={"idleSeconds": 300}), LESSON, hours=2)


@pytest.fixture(scope="module")
def fixed() -> Played:
    return played(Pool(pods=3), LESSON, hours=2)


def test_pods_come_with_the_class_and_go_after_it(scaled: Played) -> None:
    before = [moment.pods for moment in scaled.moments if moment.seconds < LESSON[0].begin]
    assert set(before) == {0}
    assert scaled.most_pods == 3
    assert (scaled.moments[-1].pods, scaled.moments[-1].queued) == (0, 0)
    assert scaled.moments[-1].seconds < LESSON[0].end + 300 + 300


def test_the_number_of_pods_does_not_flap(scaled: Played) -> None:
    assert scaled.changes <= 8


def test_the_first_job_waits_for_a_cold_start_and_most_wait_for_nothing(scaled: Played, fixed: Played) -> None:
    assert 10 <= scaled.waits[0] <= 11
    assert scaled.wait(50) < 1
    assert fixed.wait(50) < 1
    assert len(scaled.waits) == pytest.approx(len(fixed.waits), rel=0.1)


def test_what_idles_is_what_is_there_without_a_job(scaled: Played, fixed: Played) -> None:
    assert fixed.gpu_seconds == pytest.approx(3 * 2 * HOUR)
    for day in (scaled, fixed):
        ends = [*(moment.seconds for moment in day.moments[1:]), 2 * HOUR]
        idle = sum(
            (moment.pods - moment.busy) * (end - moment.seconds) for moment, end in zip(day.moments, ends, strict=True)
        )
        assert idle == pytest.approx(day.idle_gpu_seconds)
    assert scaled.idle_gpu_seconds < 0.5 * fixed.idle_gpu_seconds


def test_the_same_seed_plays_the_same_day(scaled: Played) -> None:
    assert played(Pool(pods=3, autoscale={"idleSeconds": 300}), LESSON, hours=2) == scaled


def test_a_picture_has_a_line_for_each(scaled: Played, fixed: Played) -> None:
    drawn = ET.fromstring(picture(scaled, fixed, "a lesson", hours=2))  # noqa: S314 - our own text
    assert [group.get("id") for group in drawn.iterfind(f".//{SVG}g[@id]")] == ["fixed", "busy", "pods"]


def test_the_picture_in_the_docs_is_one_of_the_script() -> None:
    drawn = ET.parse(ROOT / "docs/pictures/class-day.svg")  # noqa: S314 - our own file
    assert [group.get("id") for group in drawn.iterfind(f".//{SVG}g[@id]")] == ["fixed", "busy", "pods"]
