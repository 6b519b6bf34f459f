"""A control plane of the chart's own: it brings definitions, which last longer than a namespace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.control_plane import running_control_plane


@pytest.fixture(scope="module")
def control_plane(kubernetes_binaries: KubernetesBinaries) -> Iterator[Path]:
    """The administrator's kubeconfig."""
    with running_control_plane(kubernetes_binaries.release) as kubeconfig:
        yield kubeconfig
