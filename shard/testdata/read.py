"""Reads a Megatron indexed data set (PREFIX.bin, PREFIX.idx) and prints its documents as JSON lists of tokens."""
import json
import struct
import sys

import numpy as np

prefix = sys.argv[1]
with open(prefix + ".idx", "rb") as f:
    assert f.read(9) == b"MMIDIDX\x00\x00"
    version, code = struct.unpack("<QB", f.read(9))
    assert version == 1
    sequences, documents = struct.unpack("<QQ", f.read(16))
    at = f.tell()
dtype = {1: np.uint8, 4: np.int32, 8: np.uint16}[code]
idx = np.memmap(prefix + ".idx", mode="r")
lengths = np.frombuffer(idx, np.int32, sequences, at)
offsets = np.frombuffer(idx, np.int64, sequences, at + lengths.nbytes)
firsts = np.frombuffer(idx, np.int64, documents, at + lengths.nbytes + offsets.nbytes)
assert at + lengths.nbytes + offsets.nbytes + firsts.nbytes == len(idx)
tokens = [np.fromfile(prefix + ".bin", dtype, n, offset=o).tolist() for n, o in zip(lengths, offsets)]
print(json.dumps([sum(tokens[a:b], []) for a, b in zip(firsts[:-1], firsts[1:])]))
