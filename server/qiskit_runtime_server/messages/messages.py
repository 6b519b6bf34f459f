"""The messages between an api and an executor: one task there, a stream of events back.

They are spoken over pipes and over HTTP alike, and between releases one minor version apart, so fields are only ever
added, with defaults; unknown ones are ignored.
"""

import struct
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import msgspec

LENGTH: Final = struct.Struct(">Q")
"""Stands in front of every message of a stream."""

PIECE_BYTES: Final = 1 << 20
"""How much of a large message is handed on at a time."""

BOOT_ID: Final = "QRS-Boot-Id"
"""Header with which an api says which start of the executor it means."""

OCCUPANCY: Final = "QRS-Occupancy"
"""Header with which an executor says, as JSON, how busy it is."""

POSITION: Final = "QRS-Position"
"""Header with which an executor says which of a run's events, heartbeats not counted, a stream begins with."""

TRACEPARENT: Final = "traceparent"
"""Header with which a request says where it belongs in a trace (https://www.w3.org/TR/trace-context/)."""

PATIENCE: Final = 4
"""Estimates of times are rough: what is expected to take up to so many times longer than it may runs on the clock."""

SELF_TEST: Final = "self-test"
"""The program that shows whether an executor simulates rightly; clients cannot ask for it."""

DRAWING: Final = "drawing"
"""Before a colon and a program's name: has the circuits in a job's params drawn; clients cannot ask for it so."""

OUTCOMES: Final = "outcomes"
"""Has a job's result, which is in place of its params, looked through; clients cannot ask for it so."""

PREDICTION: Final = "prediction"
"""Before a colon and a program's name: has it said what the job would take on some executors; not for clients."""

_LOOKS: Final = {DRAWING, OUTCOMES, PREDICTION}

_MOST_REFUSAL: Final = 500

# https://github.com/msgpack/msgpack/blob/master/spec.md#bin-format-family
_NO_BYTES: Final = b"\xc4\x00"
_BYTES: Final = struct.Struct(">BI")
_BYTES_TYPE: Final = 0xC6

MessageT = TypeVar("MessageT")


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has made its executor of, so that others can make one that says what it would take.

    Attributes:
        kind: The name of an installed executor; empty for one that was given as an object.
        memory_bytes: What jobs may use, or None for no limit.
        threads: How many a simulation may use.
        options: As in `executors.ready`.
    """

    kind: str
    memory_bytes: int | None
    threads: int
    options: Mapping[str, Any]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor can do.

    Attributes:
        num_qubits: The largest ideal circuit that fits into the memory of one slot.
        methods: The simulation methods it chooses from.
        precision: `double` or `single`.
        device: The hardware, as a user would name it.
        memory_bytes: What states may take, 0 if that is not known.
        compute_capability: Of a GPU, as in `9.0`.
        confinement: That by which its workers have lost what no simulation needs; set by the server.
        fitted: What the executor was made of; set by the server.
    """

    num_qubits: int
    methods: tuple[str, ...] = ()
    precision: str = "double"
    device: str = "CPU"
    memory_bytes: int = 0
    compute_capability: str = ""
    confinement: tuple[str, ...] = ()
    fitted: Fitted | None = None


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs a claimed job.

    Attributes:
        endpoint: Address of the executor.
        boot_id: Which start of that executor; addresses get reused.
    """

    endpoint: str
    boot_id: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An executor on which a job might run.

    Attributes:
        executor: Its name.
        asked: Whether it is the one whose worker is asked.
    """

    executor: str
    capabilities: Capabilities
    asked: bool = False


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job would take on an executor.

    Attributes:
        seconds: About how long; None if that is not known.
        refusal: Why it cannot run there; empty if it can.
    """

    seconds: float | None = None
    refusal: str = ""

    @classmethod
    def refused(cls, reason: str) -> "Prediction":
        """Return that of an executor which cannot run the job, with the beginning of a reason of any length."""
        return cls(refusal=reason[:_MOST_REFUSAL])


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice among executors was made of.

    Attributes:
        predictions: By executor; of one that could not be asked there is none.
        looks: How often the job was claimed until then, to be looked at.
    """

    predictions: Mapping[str, Prediction] = {}
    looks: int = 0


class Task(msgspec.Struct, frozen=True, kw_only=True, tag="task"):
    """One claim of a job.

    Attributes:
        fence: Rises with every claim of the job.
        calibration_digest: Names the documents of the device that the job was accepted with.
        seed: Used where the job itself sets none.
        seconds: How long the job may run.
        limit: What says so, for people; empty if that is not known.
        max_qubits: The widest part of a circuit, of qubits that depend on each other, that may be simulated; None for
            any that fits.
        account: Whose job it is; empty for nobody's.
        log_level: The least grave lines that the job's log is to have, as Python's logging spells it.
        ideal_qubits: How large the ideal device is that the client was shown; None for as large as the executor has it.
        routing: Why it runs on this executor, if that was chosen for it.
        candidates: Whose predictions are asked for, if they are.
        run_seconds: How long it may run once it does, if predictions are asked for.
        traceparent: Of its submission in a trace of OpenTelemetry; over HTTP, `TRACEPARENT` says it.
        cores: How many it may use, as the slot that runs it says; None for those of a slot.
        params: The JSON document that the client sent, as it came; the last field, see `Pieces`.
    """

    job_id: str
    fence: int
    program_id: str
    backend_name: str
    calibration_digest: str
    seed: int
    seconds: float
    max_qubits: int | None = None
    account: str = ""
    log_level: str = "WARNING"
    limit: str = ""
    ideal_qubits: int | None = None
    routing: Routing | None = None
    candidates: tuple[Candidate, ...] = ()
    run_seconds: float = 0.0
    traceparent: str | None = None
    cores: int | None = None
    params: bytes

    @property
    def is_look(self) -> bool:
        """Whether nothing is simulated for it, so that it may be run beside slots."""
        return self.program_id.partition(":")[0] in _LOOKS


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What a job took.

    Attributes:
        seconds: Time in the slot; of a dry run what a device would need.
        executions: Shots over all circuits and parameter sets.
        slot_seconds: Time in the slot as whoever watches over it has measured it, which is what is charged; None where
            only `seconds` is known.
    """

    seconds: float = 0.0
    num_circuits: int = 0
    executions: int = 0
    num_qubits: tuple[int, ...] = ()
    qiskit_version: str = ""
    slot_seconds: float | None = None

    @property
    def charged(self) -> float:
        """The slot time that counts as used."""
        return self.seconds if self.slot_seconds is None else self.slot_seconds


EXECUTORS: Final = "qiskit_runtime_server.executors"
"""The group of entry points by which executors are installed."""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """A worker has imported what it needs and waits for its first task."""

    capabilities: Capabilities


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """A slot has taken the task."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """The slot's supervisor is alive and its worker process exists."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come.

    Attributes:
        done: Circuits that were run; each of its variants and parameter sets is one.
        total: How many it runs, as far as that is known: methods that draw variants may draw more or fewer.
        seconds: About how long it takes in all, since it began; None while nothing is known.
        fraction: Which part of it all is done, from 0 to 1, parts of a circuit included; None if that is not known.
        stage: What is being run, for people, as in `pub 2 of 5, noise factor 3`; may be empty.
    """

    done: int
    total: int
    seconds: float | None = None
    fraction: float | None = None
    stage: str = ""


class StageName(StrEnum):
    """What a worker does for a job, one after the other."""

    DECODE = "decode"
    SIMULATE = "simulate"
    ENCODE = "encode"


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of a run that has begun.

    Attributes:
        began: When, in seconds of the Unix time.
        methods: By which circuits were simulated, as results call them.
    """

    name: StageName
    began: float
    methods: tuple[str, ...] = ()


class Log(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """Lines for the job's log, or news of the run.

    Attributes:
        text: Whole lines, each with its end; may be empty.
        expected_seconds: How long a part of the job is estimated to take that is about to begin; only where it is more
            than the longest before.
        progress: How far it has come; only now and then, and of runs that take some seconds.
        stage: What the worker does from now on; only its parent hears of it.
    """

    text: str
    expected_seconds: float | None = None
    progress: Progress | None = None
    stage: Stage | None = None


class Completed(msgspec.Struct, frozen=True, kw_only=True, tag="completed"):
    """The job has succeeded; `result` is the JSON document for the client."""

    metrics: Metrics
    result: bytes


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """This run of the job has failed.

    Attributes:
        reason: What went wrong, for the user.
        code: For the client's message.
        worker_died: The process died under it: the job has more attempts.
        worker_unfit: The process may be damaged, and must not run another job.
    """

    reason: str
    code: int
    worker_died: bool = False
    worker_unfit: bool = False
    metrics: Metrics = Metrics()


class HandedBack(msgspec.Struct, frozen=True, kw_only=True, tag="handed_back"):
    """The executor stops before the job has ended; it can be run again elsewhere, and has used up no attempt."""


Event = Ready | Started | Heartbeat | Log | Completed | Failed | HandedBack


class Occupancy(msgspec.Struct, frozen=True, kw_only=True):
    """How busy an executor is.

    Attributes:
        boot_id: Which start of the executor.
        revision: Rises with every change.
        slots: How many there are.
        idle: How many of them could take a job now.
        looks: How many jobs could be looked at now, beside those in slots.
        draining: It takes no more jobs.
        release: The version of its distribution.
    """

    boot_id: str
    revision: int
    slots: int
    idle: int
    looks: int = 0
    draining: bool = False
    capabilities: Capabilities
    release: str = ""


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What a dispatcher says to keep a job alive.

    Attributes:
        fence: The claim that it holds.
        seen: How many events, heartbeats not counted, it has dealt with.
    """

    fence: int
    seen: int = 0


def framed(message: msgspec.Struct) -> bytes:
    """Return a message as a part of a stream."""
    body = msgspec.msgpack.encode(message)
    return b"".join((LENGTH.pack(len(body)), body))


class Pieces:
    """A message in pieces, without a second copy of its large field, which is the last one.

    Attributes:
        size: Of all pieces together, in bytes.
    """

    def __init__(self, message: msgspec.Struct) -> None:
        self._tail = memoryview(b"")
        match message:
            case Task(params=large) if len(large) > PIECE_BYTES:
                message = msgspec.structs.replace(message, params=b"")
            case Completed(result=large) if len(large) > PIECE_BYTES:
                message = msgspec.structs.replace(message, result=b"")
            case _:
                large = b""
        self._head = msgspec.msgpack.encode(message)
        if large:
            self._head = self._head.removesuffix(_NO_BYTES) + _BYTES.pack(_BYTES_TYPE, len(large))
            self._tail = memoryview(large)
        self.size = len(self._head) + len(self._tail)

    def framed(self) -> Iterator[bytes | memoryview]:
        """Yield the message as a part of a stream."""
        yield LENGTH.pack(self.size) + self._head
        yield from self._rest()

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield self._head
        yield from self._rest()

    def _rest(self) -> Iterator[memoryview]:
        for start in range(0, len(self._tail), PIECE_BYTES):
            yield self._tail[start : start + PIECE_BYTES]


class Frames(Generic[MessageT]):
    """Cuts a stream of bytes into messages."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[MessageT]) -> None:
        self._decoder = decoder
        self._data = bytearray()

    @property
    def pending(self) -> int:
        """How many bytes the message has that is being received; 0 if none, or if that is not known yet."""
        return LENGTH.unpack_from(self._data)[0] if len(self._data) >= LENGTH.size else 0

    def feed(self, data: bytes) -> Iterator[MessageT]:
        """Yield the messages that `data` completes.

        Raises:
            msgspec.DecodeError: If one makes no sense.
        """
        self._data += data
        while len(self._data) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._data)
            end = LENGTH.size + length
            if len(self._data) < end:
                return
            # Without a copy; a result may be large.
            with memoryview(self._data) as view, view[LENGTH.size : end] as body:
                message = self._decoder.decode(body)
            del self._data[:end]
            yield message
