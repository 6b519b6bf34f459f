"""Circuits of old versions of Qiskit in which two parameters of an expression have one name."""

import base64
import io
import zlib

import pytest
from qiskit import qpy
from qiskit.circuit import Parameter, QuantumCircuit

from qiskit_runtime_server.programs.wire.qpy import read_circuits

# Written by Qiskit 2.0.3: rx(theta) on one qubit, ry(2 theta) on the other, rzz(theta) on both, in rz, sx and cx.
OF_QISKIT_2_0 = zlib.decompress(
    base64.b85decode(
        "c-jl}4EFX6;bUT8W`F?3f<gxFGzJbJlL?9$(AfMSA~~}txiqsx*U;45fm88!h>Na7b!{OdSQ#T@Ap<I4Ooqs?Fy^Kv7NbkTS!_@q"
        "BLj926y=^+k_t9F4JyPTq3aUzTk)qoSTh42&A}0H&7@eA3Jm~Ws1z%dKEY5RFfTbGajMtRSr7DXepG3Yhq;LX79#wmPysWTOdbvk"
        "85vm17*t9!QcDuy;mml6kH?s`+U3rMqQ_BBcO9*QDK4sj8>~r$!37NBMHSHou?(#5zRDgn>2uDRCVC+7?!wP(VEYOR;ED+-5NBXT"
        "_cFxA*oDi=p!!sZ@e(m=sBa>&->`ZfmoSY|8$4OZS%hj<Wyw2`U=bq;7BRw-^%2x$&B#joWWD*$(M8`lT@SC<TiyNi*vrZA*r<dX"
        "oJNGfsSF`Sm7rve8a~QQnP_U63ecmF_#{t{Jb^nrh*3j*6H}pSgCT?#K}!=eX_QIex$%;saed8AB}8sy!j>d~*cp-SNw$q(QAD!k"
        "?6@_6fm32pQD$lp79F^p><g^EON$_OB!fjr(7~7tQNsvpQ2Yl1G$%3^!pwrTAs7K%0fIL"
    )
)
AGAIN = 60


def test_qiskit_itself_reads_them_by_chance_only() -> None:
    """Once it does always, there is no need for names of their own any more."""

    def read_again_and_again() -> None:
        for _ in range(AGAIN):
            qpy.load(io.BytesIO(OF_QISKIT_2_0))

    with pytest.raises(Exception, match="Cannot bind following parameters"):
        read_again_and_again()


def test_they_are_read_every_time_and_rightly() -> None:
    for _ in range(AGAIN):
        (circuit,) = read_circuits(OF_QISKIT_2_0, 1, lambda _: None)
        (theta,) = circuit.parameters
        assert theta.name == "theta"
        bound = circuit.assign_parameters({theta: 0.25})
        angles = [parameter for item in bound.data for parameter in item.operation.params]
        assert angles == pytest.approx([1.5707963, 3.3915927, 7.8539816, 3.6415927, 9.4247780, 0.25])


def test_other_circuits_stay_as_they_are() -> None:
    first, second = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rz((first + 2 * second).subs({second: first * 3}), 0)
    for version in (13, 14, 15):
        written = io.BytesIO()
        qpy.dump(circuit, written, version=version)
        assert read_circuits(written.getvalue(), 1, lambda _: None) == [circuit]
