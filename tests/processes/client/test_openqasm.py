"""Circuits as text, sent by something other than Qiskit's client."""

import json
import re
from pathlib import Path

from kit.server.http_jobs import end_of, signed_in
from kit.server.server_process import ServerProcess

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "openqasm.md"


def test_the_job_of_the_reference_page_gives_ones(server: ServerProcess) -> None:
    (params,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    body = {"program_id": "sampler", "backend": "fake_quantum_sim@aer", "params": json.loads(params)}
    with signed_in(server.url) as client:
        job_id = client.post("/jobs", json=body).raise_for_status().json()["id"]
        assert end_of(client, job_id)["status"] == "Completed"
        result = client.get(f"/jobs/{job_id}/results").json()
    assert result["results"][0]["data"]["c"]["samples"] == ["0x1"] * 1000
