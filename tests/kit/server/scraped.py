"""What a process tells Prometheus, as Prometheus reads it."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from kit import trusted


def scraped(internal_url: str) -> dict[str, float]:
    """Return the value of each series, written as `name{label="value"}` with labels in alphabetical order."""
    text = httpx.get(f"{internal_url}/metrics", timeout=60, verify=trusted(internal_url)).raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {_series(sample.name, sample.labels): sample.value for sample in samples}


def _series(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name
