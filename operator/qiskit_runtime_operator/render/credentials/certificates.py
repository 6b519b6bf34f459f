"""The certificates by which an api and its executors prove to each other who they are: mutual TLS.

There are two: that of all executors is for servers, and for the names of their Services; that of the api is for
clients. So what an executor proves is of no use against another executor. Both sides mount theirs as files, and read
them again when they change.

Where the RuntimeServer names an issuer of cert-manager, that makes the Secrets, and two Certificates are all that is
rendered. Otherwise the operator has an authority for each RuntimeServer, in a Secret that no pod mounts, and signs the
two itself: anew when two thirds of their time are over, or when the executors have other names. The authority is
renewed with the same key, so that certificates from before and after that are worth the same.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.metadata import api_selector, executors_selector, instance_selector, metadata
from qiskit_runtime_operator.render.pods import Volume
from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import (
    api_certificate_name,
    api_name,
    authority_name,
    executor_name,
    executors_certificate_name,
    executors_name,
)

EXECUTOR_TLS: Final = "/etc/qiskit-runtime-server/executor-tls"
SERVER_TLS: Final = "/etc/qiskit-runtime-server/server-tls"
CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
AUTHORITIES: Final = "ca.crt"

_VALID: Final = timedelta(days=90)
_AUTHORITY_VALID: Final = timedelta(days=3650)
# Clocks of nodes differ.
_EARLIER: Final = timedelta(hours=1)
_USAGES: Final = {"server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A certificate that is needed.

    Attributes:
        secret: The Secret that holds it.
        holder: Whose it is.
        names: That it is for.
        usage: What it proves, in the words of cert-manager.
        selector: The pods that mount it.
    """

    secret: str
    holder: str
    names: tuple[str, ...]
    usage: str
    selector: Mapping[str, str]


def certificates(server: RuntimeServer) -> tuple[Wanted, ...]:
    """Return the certificates of a RuntimeServer; none if its executors speak plain HTTP."""
    if server.spec.tls.executors is None:
        return ()
    services = [executor_name(server.name, executor.name) for executor in server.spec.executors]
    return (
        Wanted(
            secret=executors_certificate_name(server.name),
            holder=executors_name(server.name),
            names=tuple(name for service in services for name in (service, f"{service}.{server.namespace}.svc")),
            usage="server auth",
            selector=executors_selector(server),
        ),
        Wanted(
            secret=api_certificate_name(server.name),
            holder=api_name(server.name),
            names=(api_name(server.name),),
            usage="client auth",
            selector=api_selector(server),
        ),
    )


def are_signed_here(server: RuntimeServer) -> bool:
    """Tell whether the operator signs the certificates, not cert-manager."""
    executors = server.spec.tls.executors
    return executors is not None and executors.issuer_ref is None


def manifests(server: RuntimeServer, context: RenderContext) -> Iterator[Manifest]:
    """Yield what asks cert-manager for the certificates, if an issuer is named and cert-manager is there."""
    executors = server.spec.tls.executors
    if executors is None or executors.issuer_ref is None or OptionalApi.CERTIFICATE not in context.apis:
        return
    issuer = executors.issuer_ref
    for wanted in certificates(server):
        yield {
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": metadata(server, wanted.secret, wanted.selector),
            "spec": {
                "secretName": wanted.secret,
                "dnsNames": list(wanted.names),
                "usages": [wanted.usage],
                "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
                "issuerRef": {"name": issuer.name, "kind": issuer.kind, "group": issuer.group},
            },
        }


def executor_settings(server: RuntimeServer) -> dict[str, str]:
    """Return the variables by which executors speak TLS, with nobody but the api."""
    if server.spec.tls.executors is None:
        return {}
    files = {"QRS_TLS_CERTIFICATE": CERTIFICATE, "QRS_TLS_KEY": KEY, "QRS_TLS_CLIENT_CA": AUTHORITIES}
    return {name: f"{EXECUTOR_TLS}/{file}" for name, file in files.items()}


def executor_volumes(server: RuntimeServer) -> tuple[Volume, ...]:
    """Return where executors have their certificate."""
    return _mounted(server, executors_certificate_name(server.name))


def api_settings(server: RuntimeServer) -> dict[str, str]:
    """Return the variables by which the api speaks TLS: with executors, and with its clients."""
    found: dict[str, str] = {}
    if server.spec.tls.executors is not None:
        files = {
            "QRS_EXECUTOR_CA": AUTHORITIES,
            "QRS_EXECUTOR_CERTIFICATE": CERTIFICATE,
            "QRS_EXECUTOR_CERTIFICATE_KEY": KEY,
        }
        found |= {name: f"{EXECUTOR_TLS}/{file}" for name, file in files.items()}
    if server.spec.tls.secret_name is not None:
        found |= {"QRS_TLS_CERTIFICATE": f"{SERVER_TLS}/{CERTIFICATE}", "QRS_TLS_KEY": f"{SERVER_TLS}/{KEY}"}
    return found


def api_volumes(server: RuntimeServer) -> tuple[Volume, ...]:
    """Return where the api has its certificates."""
    own = server.spec.tls.secret_name
    shown = () if own is None else (Volume(name="server-tls", path=SERVER_TLS, source={"secret": {"secretName": own}}),)
    return *shown, *_mounted(server, api_certificate_name(server.name))


def _mounted(server: RuntimeServer, secret: str) -> tuple[Volume, ...]:
    if server.spec.tls.executors is None:
        return ()
    return (Volume(name="executor-tls", path=EXECUTOR_TLS, source={"secret": {"secretName": secret}}),)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def of(cls, secret: Manifest | None) -> Self | None:
        """Return what is in a Secret; None if that is nothing, or nothing that makes sense."""
        data = (secret or {}).get("data") or {}
        with suppress(KeyError, ValueError, TypeError):
            certificate = x509.load_pem_x509_certificate(b64decode(data[CERTIFICATE]))
            key = serialization.load_pem_private_key(b64decode(data[KEY]), None)
            if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key():
                return cls(certificate=certificate, key=key)
        return None

    @property
    def data(self) -> dict[str, str]:
        """As a Secret holds it."""
        private = self.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return {CERTIFICATE: _encoded(self.certificate.public_bytes(_PEM)), KEY: _encoded(private)}

    def lasts(self, now: datetime) -> bool:
        """Tell whether less than two thirds of its time are over."""
        begin, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return begin <= now < begin + (end - begin) * 2 / 3


_PEM: Final = serialization.Encoding.PEM


def authority_secret(server: RuntimeServer, found: Manifest | None, now: datetime) -> Manifest | None:
    """Return the Secret with the authority of a RuntimeServer; None if the one that is there is right.

    Args:
        server: The owner.
        found: The Secret as it is there, if it is; a key in it is kept.
        now: The time.
    """
    pair = _Pair.of(found)
    if pair is not None and pair.lasts(now):
        return None
    key = ec.generate_private_key(ec.SECP256R1()) if pair is None else pair.key
    name = _name(f"{server.name} authority")
    certificate = (
        _builder(name, name, key.public_key(), now, _AUTHORITY_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    data = _Pair(certificate=certificate, key=key).data
    return _secret(server, authority_name(server.name), instance_selector(server), found, data)


def certificate_secret(
    server: RuntimeServer, wanted: Wanted, authority: Manifest, found: Manifest | None, *, now: datetime
) -> Manifest | None:
    """Return the Secret with a certificate; None if the one that is there is right, and will be for long enough.

    Args:
        server: The owner.
        wanted: What it is for.
        authority: The Secret with the authority, as `authority_secret` makes it.
        found: The Secret as it is there, if it is.
        now: The time.
    """
    signer = _Pair.of(authority)
    if signer is None:
        raise ValueError(f"Secret {authority['metadata']['name']} holds no authority")
    authorities = authority["data"][CERTIFICATE]
    if _is_right(_Pair.of(found), wanted, signer, now) and found and found["data"].get(AUTHORITIES) == authorities:
        return None
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(wanted.holder), signer.certificate.subject, key.public_key(), now, _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, wanted.names))), critical=False)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[wanted.usage]]), critical=False)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    data = {**_Pair(certificate=certificate, key=key).data, AUTHORITIES: authorities}
    return _secret(server, wanted.secret, wanted.selector, found, data)


def _is_right(pair: _Pair | None, wanted: Wanted, signer: _Pair, now: datetime) -> bool:
    if pair is None or not pair.lasts(now):
        return False
    try:
        pair.certificate.verify_directly_issued_by(signer.certificate)
        names = pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return names.get_values_for_type(x509.DNSName) == list(wanted.names)


def _secret(
    server: RuntimeServer, name: str, selector: Mapping[str, str], found: Manifest | None, data: Mapping[str, str]
) -> Manifest:
    if found is not None:
        return {**found, "data": dict(data)}
    about = metadata(server, name, selector)
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": about, "data": dict(data)}


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, valid: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + valid)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _encoded(content: bytes) -> str:
    return b64encode(content).decode()
