"""Time training steps of a decoder of the Llama family in PyTorch on one GPU, beside `ravn bench xla` (gpu.sh runs both).

    python3 gpu.py toy|160m|1b|7b [--rows 1] [--tokens T] [--layers L] [--steps 10] [--peak TFLOPS] [--eager] [--limit SECONDS]

Prints one line of JSON with ravn's names, whatever happens: after an error or TERM with what was measured until then, and the
error. The model is that of step.py, compiled (torch.compile; if that fails not, and "program" says so), with flash attention
through scaled_dot_product_attention, float32 weights, gradients and moments, bf16 autocast, fused AdamW, the global norm clipped.
Blocks are computed again on the way back for 7b, which has no room otherwise on 141 GB, and with --checkpoint. A step is from one
moment at which the device is waited for to the next. On a machine without a GPU it runs on the processor, for its form.
It needs PyTorch 2.5 or newer.
"""

import argparse
import json
import signal
import statistics
import sys
import time

import torch
from step import Decoder
from torch import nn
from torch.utils.checkpoint import checkpoint

# vocabulary, width, layers, heads, key-value heads, feed-forward width, T
SHAPES = {
    "toy": (256, 32, 2, 4, 2, 64, 32),
    "160m": (32000, 768, 12, 12, 12, 3072, 2048),
    "1b": (32000, 2048, 22, 32, 4, 5632, 2048),
    "7b": (32000, 4096, 32, 32, 8, 14336, 4096),
}

# as in internal/cli/benchxla.go
PEAKS = [("B200", 2250), ("GH200", 989), ("H200 NVL", 835), ("H200", 989), ("H100 NVL", 835), ("H100 PCIe", 756), ("H100", 989), ("A100", 312), ("L40S", 362), ("RTX 4090", 165)]


class Again(nn.Module):
    """A block that is computed again on the way back."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x, cos, sin):
        return checkpoint(self.block, x, cos, sin, use_reentrant=False)


def flops(V, C, L, H, K, F, T):
    """Of training on one token, as model.Config.TrainFLOPs: six for each parameter in a product, attention over what it sees."""
    D = C // H
    products = L * (2 * C * H * D + 2 * C * K * D + 3 * C * F) + V * C
    return 6 * products + 12 * L * H * D * (T + 1) / 2


def numbers(V, C, L, H, K, F):
    """Parameters of a decoder."""
    D = C // H
    return L * (2 * C * H * D + 2 * C * K * D + 3 * C * F + 2 * C) + 2 * V * C + C


def main():
    a = argparse.ArgumentParser()
    a.add_argument("shape", choices=SHAPES)
    a.add_argument("--rows", type=int, default=1)
    a.add_argument("--tokens", type=int, default=0)
    a.add_argument("--layers", type=int, default=0)
    a.add_argument("--steps", type=int, default=10)
    a.add_argument("--peak", type=float, default=0)
    a.add_argument("--checkpoint", action="store_true")
    a.add_argument("--eager", action="store_true", help="do not compile")
    a.add_argument("--limit", type=float, default=0, help="seconds after which no further step begins once one was timed")
    a = a.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by TERM"))
    out = {"program": f"torch {torch.__version__}", "shape": a.shape, "rows": a.rows, "precision": "bf16", "steps": 0}
    failure = None
    try:
        measure(a, out)
    except BaseException as e:  # out of memory, a version that is too old, TERM
        failure = f"{type(e).__name__}: {e}".splitlines()[0]
        out["error"] = failure
    print(json.dumps(out), flush=True)
    if failure:
        sys.exit(f"gpu.py: {failure}")


def measure(a, out):
    began = time.perf_counter()
    if tuple(int(x) for x in torch.__version__.split(".")[:2]) < (2, 5):
        raise RuntimeError(f"torch {torch.__version__} has no RMSNorm or no attention with shared heads; 2.5 or newer is wanted")
    V, C, L, H, K, F, T = SHAPES[a.shape]
    L, T = a.layers or L, a.tokens or T
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    if not gpu and a.shape != "toy":
        raise RuntimeError("torch sees no GPU (torch.cuda.is_available); on a processor only toy is measured")
    card = torch.cuda.get_device_name() if gpu else ""
    while gpu and not a.layers and L > 1 and 17 * numbers(V, C, L, H, K, F) + 6e9 > torch.cuda.get_device_properties(0).total_memory:
        L -= 1  # 16 bytes a parameter and what a step takes
    out |= {"device": device, "card": card, "devices": 1, "layers": L, "tokens": T}
    torch.manual_seed(1)
    with torch.device(device):
        model = Decoder(V, C, L, H, K, F, T)
        tokens, targets = torch.randint(V, (a.rows, T)), torch.randint(V, (a.rows, T))
    out["params"] = sum(p.numel() for p in model.parameters())
    if a.checkpoint or a.shape == "7b":
        model.blocks = nn.ModuleList(Again(b) for b in model.blocks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = model if a.eager else torch.compile(model)

    def step():
        with torch.autocast(device, torch.bfloat16):
            loss = forward(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if gpu:
            torch.cuda.synchronize()
        return loss.item()

    def timed():
        start = time.perf_counter()
        loss = step()
        return loss, time.perf_counter() - start

    try:
        loss, first = timed()
    except Exception as e:
        if a.eager or isinstance(e, torch.OutOfMemoryError):
            raise
        print(f"gpu.py: without torch.compile, which failed: {e}", file=sys.stderr)
        out["program"] += " eager"
        forward = model
        optimizer.zero_grad(set_to_none=True)
        loss, first = timed()
    if a.eager:
        out["program"] += " eager"
    out |= {"first_step_seconds": first, "first_loss": loss}
    print(f"gpu.py: the first step took {first:.1f} s, with compilation", file=sys.stderr)
    peak = a.peak or next((p for name, p in PEAKS if name in card), 0)
    seconds = []
    timed()
    while len(seconds) < a.steps and not (a.limit and seconds and time.perf_counter() - began > a.limit):
        out["last_loss"], s = timed()
        seconds.append(s)
        median = statistics.median(seconds)
        rate = a.rows * T / median
        tflops = rate * flops(V, C, L, H, K, F, T) / 1e12
        out |= {"steps": len(seconds), "step_seconds": median, "best_step_seconds": min(seconds), "tokens_per_second": rate, "tflops_per_device": tflops}
        if peak:
            out |= {"peak_tflops": peak, "share_of_peak": tflops / peak}
        if gpu:
            out |= {"peak_memory_bytes": torch.cuda.max_memory_allocated(), "peak_memory_by": "torch's allocator"}


main()
