"""What a run says: a table for people, JSON and JUnit's XML for programs."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

from qiskit_runtime_server.conformance.check import Outcome, Verdict


def line(outcome: Outcome) -> str:
    """Return a line of the table."""
    reason = f": {' '.join(outcome.reason.split())[:300]}" if outcome.reason else ""
    return f"{outcome.verdict:12} {outcome.seconds:6.1f} s  {outcome.check.name}{reason}"


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return how many checks ended in which way."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)


def write_json(path: Path, outcomes: Sequence[Outcome], about: Mapping[str, str]) -> None:
    """Write what was run, with which versions, and how each check ended."""
    checks = [
        {
            "name": outcome.check.name,
            "asks": outcome.check.asks,
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "seconds": round(outcome.seconds, 3),
        }
        for outcome in outcomes
    ]
    path.write_text(json.dumps({**about, "checks": checks}, indent=1) + "\n")


def write_junit(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write JUnit's XML: what is not offered counts as skipped."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    suite = Element(
        "testsuite",
        name="qiskit-runtime-conformance",
        tests=str(len(outcomes)),
        failures=str(counts[Verdict.FAILED]),
        skipped=str(counts[Verdict.NOT_OFFERED]),
    )
    for outcome in outcomes:
        group, _, name = outcome.check.name.partition(".")
        case = SubElement(suite, "testcase", classname=group, name=name, time=f"{outcome.seconds:.3f}")
        # XML 1.0 has no place for control characters.
        reason = "".join(character for character in outcome.reason if character.isprintable() or character in "\n\t")
        if outcome.verdict is Verdict.FAILED:
            SubElement(case, "failure", message=reason)
        elif outcome.verdict is Verdict.NOT_OFFERED:
            SubElement(case, "skipped", message=reason)
    ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
