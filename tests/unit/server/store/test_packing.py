"""Documents are kept compressed, one row at a time, where that brings anything."""

import base64
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qiskit_runtime_server.store.sql.packing import ROW_BYTES, ZSTD, packed, size_of, unpacked


@settings(deadline=None)
@given(
    st.binary(max_size=10_000)
    | st.builds(lambda text, n: text * n, st.binary(min_size=1, max_size=50), st.integers(0, 60_000))
)
async def test_what_is_packed_comes_back(document: bytes) -> None:
    rows = await packed(document)
    assert b"".join(unpacked(row.codec, bytes(row.data)) for row in rows) == document
    assert len(rows) == max(1, -(-len(document) // ROW_BYTES))


async def test_base64_takes_a_quarter_less() -> None:
    document = base64.b64encode(os.urandom(3 << 20))
    rows = await packed(document)
    assert [row.codec for row in rows] == [ZSTD] * 4
    assert size_of(rows) < 0.77 * len(document)


@pytest.mark.parametrize("document", [b"", b"{}" * 2000, os.urandom(100_000)])
async def test_what_is_short_or_has_no_pattern_is_kept_as_it_is(document: bytes) -> None:
    [row] = await packed(document)
    assert (row.codec, bytes(row.data)) == (None, document)


def test_a_codec_of_another_release_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="'lz5'"):
        unpacked("lz5", b"")
