"""Where a release comes from: SLSA's provenance, in a statement of in-toto.

https://slsa.dev/spec/v1.0/provenance and https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement

from release.archives import sha256
from release.source import Source, base_images

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
# Its parameters are those of `make release`.
_BUILD_TYPE: Final = "urn:qiskit-runtime-server:make-release:v1"
_LOCAL_BUILDER: Final = "urn:qiskit-runtime-server:local"
_DOCKERFILES: Final = ("server/Dockerfile", "operator/Dockerfile")


def write_provenance(
    path: Path, source: Source, made: Iterable[Path], parameters: Mapping[str, str], variables: Mapping[str, str]
) -> None:
    """Write the statement.

    Args:
        path: Of the statement.
        source: What everything was made of.
        made: The files that it speaks of.
        parameters: What `make release` was told.
        variables: The environment; GitHub's say which workflow builds, else it is nobody that one could trust.
    """
    subjects = [ResourceDescriptor(name=file.name, digest={"sha256": sha256(file)}).pb for file in made]
    predicate: dict[str, Any] = {
        "buildDefinition": {
            "buildType": _BUILD_TYPE,
            "externalParameters": dict(parameters),
            "resolvedDependencies": [*_materials(source, variables)],
        },
        "runDetails": _run_details(variables),
    }
    statement = Statement(subjects=subjects, predicate_type=PREDICATE_TYPE, predicate=predicate)
    statement.validate()
    path.write_text(json.dumps(MessageToDict(statement.pb), indent=2, sort_keys=True) + "\n")


def _materials(source: Source, variables: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    commit: dict[str, Any] = {"name": "source", "digest": {"gitCommit": source.commit}}
    if repository := _repository(variables):
        commit["uri"] = f"git+{repository}"
    yield commit
    for requirements in sorted((source.folder / "requirements").glob("image-*.txt")):
        yield {"name": f"requirements/{requirements.name}", "digest": {"sha256": sha256(requirements)}}
    bases = {base for name in _DOCKERFILES for base in base_images((source.folder / name).read_text())}
    for image, digest in sorted(bases):
        yield {"name": image, "digest": {"sha256": digest}}


def _repository(variables: Mapping[str, str]) -> str:
    if "GITHUB_REPOSITORY" not in variables:
        return ""
    return f"{variables['GITHUB_SERVER_URL']}/{variables['GITHUB_REPOSITORY']}"


def _run_details(variables: Mapping[str, str]) -> dict[str, Any]:
    if not (repository := _repository(variables)):
        return {"builder": {"id": _LOCAL_BUILDER}}
    run = f"{repository}/actions/runs/{variables['GITHUB_RUN_ID']}/attempts/{variables['GITHUB_RUN_ATTEMPT']}"
    workflow = f"{variables['GITHUB_SERVER_URL']}/{variables['GITHUB_WORKFLOW_REF']}"
    return {"builder": {"id": workflow}, "metadata": {"invocationId": run}}
