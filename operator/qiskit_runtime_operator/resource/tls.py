"""What a RuntimeServer says of certificates."""

from pydantic.dataclasses import dataclass

from qiskit_runtime_operator.resource.pod_template import STRICT


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class IssuerRef:
    """Who signs certificates, by cert-manager."""

    name: str
    kind: str = "Issuer"
    group: str = "cert-manager.io"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExecutorTls:
    """Mutual TLS between api and executors: by an issuer of cert-manager, else by an authority of the operator's."""

    issuer_ref: IssuerRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Tls:
    """The certificate of the api for its clients, and whether api and executors prove who they are to each other."""

    secret_name: str | None = None
    executors: ExecutorTls | None = None
