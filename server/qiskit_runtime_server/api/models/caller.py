"""What is answered about who is calling."""

from qiskit_runtime_server.accounts.identity import Role
from qiskit_runtime_server.api.models.base import Answer


class Caller(Answer):
    """Who is calling."""

    account: str
    role: Role
    instances: list[str]
    """CRNs; the first one is taken where a request names none."""
