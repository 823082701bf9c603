"""Which tokens a step reads: DIR SEED ROWS T STEP SECTION=WEIGHT..., weights being whole and without a common factor."""
import hashlib
import json
import struct
import sys
from fractions import Fraction

import numpy as np

folder, (seed, B, T, step) = sys.argv[1], map(int, sys.argv[2:6])
weights = {n: int(w) for n, w in sorted(a.split("=") for a in sys.argv[6:])}
M = 2**64 - 1


def mix(z):
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M
    return z ^ z >> 31


def permutation(what, section, round, n):
    key = hashlib.sha256(f"ravn order 1\0{what}\0{seed}\0{section}\0{round}".encode()).digest()
    a, b = struct.unpack("<QQ", key[:16])
    return sorted(range(n), key=lambda i: mix(mix((a + i * 0x9E3779B97F4A7C15) & M) ^ b))


def documents(section):
    idx = open(f"{folder}/{section}.idx", "rb").read()
    n = struct.unpack_from("<Q", idx, 18)[0]
    dtype = {4: np.int32, 8: np.uint16}[idx[17]]
    flat = np.fromfile(f"{folder}/{section}.bin", dtype)
    return np.split(flat, np.cumsum(np.frombuffer(idx, np.int32, n, 34))[:-1])


def interleave():
    """Tijdeman 1980: of those behind by 1/(2K-2), the one that is soonest behind by 1-1/(2K-2)."""
    K, total, counts, n = len(weights), sum(weights.values()), dict.fromkeys(weights, 0), 0
    low, high = Fraction(1, max(2 * K - 2, 1)), 1 - Fraction(1, max(2 * K - 2, 1))
    while True:
        n += 1
        behind = {s: Fraction(w * n, total) - counts[s] for s, w in weights.items()}
        s = min((s for s in weights if behind[s] >= low or K == 1), key=lambda s: (high - behind[s]) / weights[s])
        yield s, counts[s]
        counts[s] += 1


def row(section, j):
    docs = documents(section)
    size = sum(map(len, docs))
    block = -(-size // T)
    at = j // block * block + permutation("rows", section, j // block, block)[j % block]
    first, last = at * T // size, (at * T + T - 1) // size
    stream = np.concatenate([docs[d] for e in range(first, last + 1) for d in permutation("documents", section, e, len(docs))])
    return stream[at * T - first * size:][:T].tolist()


order = interleave()
for _ in range((step - 1) * B):
    next(order)
print(json.dumps([row(*next(order)) for _ in range(B)]))
