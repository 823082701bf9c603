"""Reads testdata/small.safetensors with a reader of its own, and rounds hard numbers with numpy and torch.

Run with Debian's python3 (numpy, torch) in this folder; small.json is what the Go tests compare with.
"""
import json, struct
import numpy as np, torch

def read(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    header, body, out = json.loads(data[8:8 + n]), data[8 + n:], {}
    meta = header.pop("__metadata__", None)
    for name, e in header.items():
        raw = body[e["data_offsets"][0]:e["data_offsets"][1]]
        if e["dtype"] == "BF16":
            x = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            x = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2", "I64": "<i8"}[e["dtype"]])
        out[name] = {"dtype": e["dtype"], "values": x.reshape(e["shape"]).astype(np.float64).tolist()}
    return {"metadata": meta, "tensors": out}

rng = np.random.default_rng(7)
bits = np.concatenate([
    rng.integers(0, 2**32, 300, dtype=np.uint64),                                # anything, NaN too
    (rng.integers(90, 150, 300) << 23) | rng.integers(0, 2**23, 300),            # around the range of F16
    (rng.integers(100, 146, 300) << 23) | (rng.integers(0, 2**11, 300) << 12),   # ties of F16
    (rng.integers(0, 2**17, 300, dtype=np.uint64) << 15),                        # ties of BF16
    np.array([0, 0x80000000, 1, 0x33000000, 0x33000001, 0x387fffff, 0x477fefff, 0x477ff000, 0x7f7fffff, 0x7f800000]),
]).astype(np.uint32)
x = bits.view(np.float32)
nan = np.isnan(x)
with np.errstate(over="ignore"):
    f16 = x.astype(np.float16).view(np.uint16)
bf16 = torch.from_numpy(x.copy()).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
result = read("small.safetensors")
result["rounding"] = [[int(b), -1 if n else int(h), -1 if n else int(q)] for b, h, q, n in zip(bits, f16, bf16, nan)]
json.dump(result, open("small.json", "w"), separators=(",", ":"))
