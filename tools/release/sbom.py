"""Software bills of materials in SPDX 2.3, written and checked by spdx-tools.

https://spdx.github.io/spdx-spec/v2.3/
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from license_expression import ExpressionError, get_spdx_licensing
from packageurl import PackageURL
from packaging.requirements import Requirement
from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    Checksum,
    ChecksumAlgorithm,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from spdx_tools.spdx.writer.json.json_writer import write_document_to_file

from release.archives import ImageArchive, sha256
from release.errors import ReleaseError

_DOCUMENT: Final = "SPDXRef-DOCUMENT"
_SUBJECT: Final = "SPDXRef-Subject"
# Where the Dockerfiles put what cyclonedx-py found in the environment of the image.
_ENVIRONMENTS: Final = ("opt/server/sbom.cdx.json", "opt/operator/sbom.cdx.json")
_DEBIAN: Final = "var/lib/dpkg/status"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Component:
    """A package that something is made of.

    Attributes:
        purl: Its name and version for machines (https://github.com/package-url/purl-spec).
        license: An SPDX expression; empty if nobody has said.
    """

    name: str
    version: str
    purl: str = ""
    license: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file, whose digest its bill bears, and the package that it is."""

    file: Path
    package: Component


def pinned(requirements: Iterable[Path]) -> list[Component]:
    """Return what hashed requirements install, in order of names."""
    found = {component for path in requirements for component in _pins(path.read_text())}
    return sorted(found)


def _pins(text: str) -> Iterator[Component]:
    for line in re.findall(r"^[A-Za-z0-9][^\\\n]*", text, re.MULTILINE):
        requirement = Requirement(line)
        version = str(requirement.specifier).removeprefix("==")
        yield Component(
            name=requirement.name,
            version=version,
            purl=PackageURL("pypi", name=requirement.name, version=version).to_string(),
        )


def contained(image: ImageArchive) -> list[Component]:
    """Return the packages of Python and of Debian that an image has, in order of names.

    Raises:
        ReleaseError: If the image does not say which of Python it has.
    """
    files = image.files(*_ENVIRONMENTS, _DEBIAN)
    environments = [json.loads(files[name]) for name in _ENVIRONMENTS if name in files]
    if not environments:
        raise ReleaseError(f"the image has none of {', '.join(_ENVIRONMENTS)}")
    architecture = image.config["architecture"]
    python = {component for environment in environments for component in _of_cyclonedx(environment)}
    debian = set(_of_debian(files.get(_DEBIAN, b"").decode(), architecture))
    return sorted(python | debian)


def _of_cyclonedx(environment: dict[str, object]) -> Iterator[Component]:
    components = environment["components"]
    assert isinstance(components, list)  # noqa: S101 - https://cyclonedx.org/docs/1.6/json
    for found in components:
        said = [
            entry.get("expression") or entry.get("license", {}).get("id", "") for entry in found.get("licenses", [])
        ]
        yield Component(
            name=found["name"],
            version=found.get("version", ""),
            purl=found.get("purl", ""),
            license=" AND ".join(sorted(f"({words})" if " " in words else words for words in {*said} - {""})),
        )


def _of_debian(status: str, architecture: str) -> Iterator[Component]:
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.+)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            purl = PackageURL("deb", "debian", name, version, {"arch": architecture}).to_string()
            yield Component(name=name, version=version, purl=purl)


def write_bill(path: Path, *, subject: Subject, parts: Iterable[Component], how: RelationshipType, epoch: int) -> None:
    """Write the bill of a file.

    Args:
        path: Of the bill, which ends in .spdx.json.
        subject: The file, and what it is.
        parts: What it contains or depends on.
        how: Which of both.
        epoch: When the bill was made, in seconds since 1970.

    Raises:
        ReleaseError: If what was written is no valid SPDX document.
    """
    file = subject.file
    digest = sha256(file)
    creation = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id=_DOCUMENT,
        name=file.name,
        document_namespace=f"https://spdx.org/spdxdocs/{file.name}-{digest}",
        creators=[Actor(ActorType.TOOL, "qiskit-runtime-server-release")],
        created=datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None),
    )
    packages = [_package(subject.package, _SUBJECT, file.name, Checksum(ChecksumAlgorithm.SHA256, digest))]
    relationships = [Relationship(_DOCUMENT, RelationshipType.DESCRIBES, _SUBJECT)]
    for number, part in enumerate(parts):
        identity = f"SPDXRef-Package-{number}-{re.sub(r'[^A-Za-z0-9.-]', '-', part.name)}"
        packages.append(_package(part, identity))
        relationships.append(Relationship(_SUBJECT, how, identity))
    document = Document(creation, packages=packages, relationships=relationships)
    if problems := validate_full_spdx_document(document):
        raise ReleaseError(f"{path.name} is not valid: {problems[0].validation_message}")
    write_document_to_file(document, str(path), validate=False)


def _package(component: Component, identity: str, file_name: str = "", *checksums: Checksum) -> Package:
    references = [ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", component.purl)]
    return Package(
        spdx_id=identity,
        name=component.name,
        version=component.version or None,
        download_location=SpdxNoAssertion(),
        file_name=file_name or None,
        files_analyzed=False,
        checksums=[*checksums],
        license_declared=_license(component.license),
        external_references=references if component.purl else [],
    )


def _license(text: str) -> object:
    """Return an expression that SPDX knows; what packages say in words of their own is no assertion."""
    if not text:
        return SpdxNoAssertion()
    try:
        return get_spdx_licensing().parse(text, validate=True)
    except ExpressionError:
        return SpdxNoAssertion()
