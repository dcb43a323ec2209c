"""Files of PyTorch as versions before 1.6 wrote them, which today's torch still reads."""

from __future__ import annotations

import pickle
import struct

import numpy as np

N, D = 9, 4
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def legacy(body: bytes) -> bytes:
    """A file around a pickle and one storage with X."""
    about = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    before = b"".join(pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, about))
    return before + b"\x80\x02" + body + b"." + pickle.dumps(["0"], 2) + struct.pack("<q", X.size) + X.tobytes()


STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0000X\x03\0\0\0cpuK%c%stQ"
WHOLE = STORAGE % (N * D, b"N")
PART = STORAGE % (N * D, b"(X\x01\0\0\0vK\x08K\x0ct")  # numbers 8 to 19, under a key of their own
GIVEN = b"K\0K%cK%c\x86K%cK\x01\x86" % (3, D, D)  # 3 rows from the start
FIRST = b"ctorch\nFloatTensor\n)Rq\x07(" + WHOLE + GIVEN + b"tb"
REBUILT = b"ctorch._utils\n_rebuild_tensor\n(%s" + GIVEN + b"tR"
OLD = {
    "0.1, filled by its state": FIRST,
    "0.1, twice": b"}(X\x01\0\0\0a" + FIRST + b"X\x01\0\0\0xh\x07u",
    "0.3, whole": REBUILT % WHOLE,
    "0.3, a part of a storage": REBUILT % PART,
    "0.3, both": b"}(X\x01\0\0\0a" + REBUILT % PART + b"X\x01\0\0\0x" + REBUILT % WHOLE + b"u",
    "0.4, a parameter": b"ctorch.nn.parameter\nParameter\n(" + REBUILT % WHOLE + b"\x89tR",
}
