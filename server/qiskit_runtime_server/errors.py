"""The errors of the server, without any knowledge of HTTP.

ServerError
├── RequestError               the request cannot be accepted as it is
│   ├── MalformedRequestError  it cannot be read, or a part is missing
│   ├── TooLargeError          it exceeds a limit of this server
│   ├── TooSlowError           its body does not arrive in time
│   ├── NotAuthenticatedError  its token is missing, unknown or expired
│   ├── NotAllowedError        its account may not do that
│   ├── TooManyRequestsError   its account, or its address, has sent too many lately
│   ├── LimitError             it goes beyond a limit of its instance
│   ├── NotFoundError          it names something that does not exist for this account
│   │   ├── BackendNotFoundError
│   │   ├── ProgramNotFoundError
│   │   ├── JobNotFoundError
│   │   └── SessionNotFoundError
│   └── InvalidStateError      what it names exists, and is past doing that
├── JobError                   the job fails for good; `code` is what the client shows
│   ├── InvalidInputError      params cannot be decoded or make no sense
│   │   ├── NotIsaError        a circuit does not fit the backend's instruction set
│   │   └── TooManyShotsError
│   ├── UnsupportedOptionError an option that is not honoured, by name
│   ├── CircuitTooLargeError   a circuit cannot fit into this executor's memory
│   │   └── CircuitTooLongError   a circuit cannot be simulated within the job's time
│   ├── OutOfMemoryError       a circuit did not fit into this executor's memory
│   ├── CalibrationMissingError the executor does not have the calibration that the job was accepted with
│   ├── MaxTimeError           the job ran into its deadline
│   ├── SimulationTimeError    a simulation took so much longer than it should that it is taken to hang
│   ├── WorkerDiedError        the job's process died too often
│   └── InternalError          a mistake of ours or of the simulator; its process serves no other job
├── UnavailableError           the same request may succeed later
│   ├── BusyError              too much is on its way through this process
│   ├── IssuerUnavailableError who has issued a token cannot be asked about it
│   └── StoreUnavailableError  the database is away
│       └── StoreFullError     the database has no room
├── InjectedError              a fault that was asked for: `status` is its answer
├── NoFreeSlotError            try another endpoint, or later
├── BackupError                a backup cannot be made, or not be restored
└── StartupError               the server cannot start
    ├── AccountsFileError      accounts.toml makes no sense; a server that runs goes on with what it said before
    ├── DataDirectoryError     the folder is in use, or of a kind that loses data
    │   └── DataDirectoryInUseError another server has it
    ├── DatabaseDamagedError   a part of the database's files cannot be read
    └── UnknownExecutorError   no executor of that name is installed
"""

from typing import ClassVar


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic of an extension written in Rust, as Qiskit's reader of QPY is.

    Panics derive from BaseException, and their class cannot be imported.
    """
    return type(error).__name__ == "PanicException"


class ServerError(Exception):
    """Base of everything that this package raises on purpose."""


class RequestError(ServerError):
    """The request cannot be accepted as it is."""


class MalformedRequestError(RequestError):
    """The request cannot be read, or a part is missing."""


class TooLargeError(RequestError):
    """The request exceeds a limit of this server."""


class TooSlowError(RequestError):
    """The body of the request does not arrive in time."""


class NotAuthenticatedError(RequestError):
    """The token is missing, unknown or expired."""


class NotAllowedError(RequestError):
    """The account may not do that."""


class TooManyRequestsError(RequestError):
    """There were too many of its kind lately.

    Args:
        message: For people.
        retry_after: After how many seconds there may be another.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LimitError(RequestError):
    """The request goes beyond a limit of its instance; the message names limit and use."""


class NotFoundError(RequestError):
    """The request names something that does not exist for this account."""


class BackendNotFoundError(NotFoundError):
    """There is no such virtual backend."""


class ProgramNotFoundError(NotFoundError):
    """There is no such program."""


class JobNotFoundError(NotFoundError):
    """There is no such job for this account."""


class SessionNotFoundError(NotFoundError):
    """There is no such session for this account."""


class InvalidStateError(RequestError):
    """What the request names exists, and is past doing that."""


class JobError(ServerError):
    """The job fails for good.

    Attributes:
        code: The number that the client shows, from IBM's error code registry where it has a fitting one.
    """

    code: ClassVar[int] = 9999


class InvalidInputError(JobError):
    """The params cannot be decoded or make no sense."""

    code = 1002


class NotIsaError(InvalidInputError):
    """A circuit does not fit the backend's instruction set."""

    code = 7001


class TooManyShotsError(InvalidInputError):
    """More shots were asked for than the backend allows."""

    code = 1103


class UnsupportedOptionError(JobError):
    """An option that is not honoured; the message names it."""

    code = 1002


class CircuitTooLargeError(JobError):
    """A circuit cannot fit into this executor's memory."""

    code = 1109


class CircuitTooLongError(CircuitTooLargeError):
    """A circuit cannot be simulated within the job's time, by what is known before it is begun."""

    code = 1305


class OutOfMemoryError(JobError):
    """A circuit did not fit into this executor's memory."""

    code = 1109


class CalibrationMissingError(JobError):
    """The executor does not have the calibration that the job was accepted with."""

    code = 1009


class MaxTimeError(JobError):
    """The job ran into its deadline."""

    code = 1305


class SimulationTimeError(JobError):
    """A simulation took so much longer than it should that it is taken to go on for ever."""


class WorkerDiedError(JobError):
    """The job's process died too often."""


class InternalError(JobError):
    """A mistake of ours, or of the simulator, which may have left damage in the memory of its process."""


class UnavailableError(ServerError):
    """The same request may succeed later.

    Attributes:
        retry_after: In how many seconds, at the earliest. Python clients wait so long five times, and then give up.
    """

    retry_after: ClassVar[int] = 1


class BusyError(UnavailableError):
    """Too much is on its way through this process at the moment."""

    # It is refused at once, and what is on its way may be hundreds of megabytes.
    retry_after = 6


class IssuerUnavailableError(UnavailableError):
    """Who has issued a token cannot be asked about it, so that it is neither right nor wrong."""


class StoreUnavailableError(UnavailableError):
    """The database cannot be reached or is busy. A call that writes may have happened nevertheless."""


class StoreFullError(StoreUnavailableError):
    """The database has no room for what was to be written; nothing was."""


class InjectedError(ServerError):
    """The request is answered like this on purpose.

    Args:
        message: For people.
        status: The HTTP status that was asked for.
        retry_after: After how many seconds the request may be repeated.
    """

    def __init__(self, message: str, *, status: int, retry_after: int) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class NoFreeSlotError(ServerError):
    """Every slot of the endpoint is busy: try another one, or later."""


class BackupError(ServerError):
    """A backup cannot be made, or not be restored; the message says why, and what to do."""


class StartupError(ServerError):
    """The server cannot start."""


class AccountsFileError(StartupError):
    """What is said about accounts makes no sense."""


class DataDirectoryError(StartupError):
    """The data folder is in use, or on a file system that cannot keep a database safe."""


class DataDirectoryInUseError(DataDirectoryError):
    """Another server has the data folder."""


class DatabaseDamagedError(StartupError):
    """A part of the database's files cannot be read, or is missing."""


class UnknownExecutorError(StartupError):
    """No executor of that name is installed."""
