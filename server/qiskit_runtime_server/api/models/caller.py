"""What is answered about who is calling."""

from qiskit_runtime_server.accounts.teaching import Role
from qiskit_runtime_server.api.models.base import Answer


class Caller(Answer):
    """Who is calling."""

    account: str
    role: Role
    teaches: list[str]
    """Whose jobs it may look at and cancel, as accounts.toml says: names, and those of instances behind a colon."""
    instances: list[str]
    """CRNs; the first one is taken where a request names none."""
