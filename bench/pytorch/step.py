"""Time training steps of a decoder of the Llama family in PyTorch, for comparison with ravn's engine/cpu.

    python3 step.py S|M|L fp32|bf16 STEPS [THREADS]

Prints one line: shape, precision, threads, the median and the best tokens/s of STEPS steps after one that warms up, and
the peak of resident memory in MB. A step is forward, backward, the clipping of the global norm, and AdamW. bf16 is
autocast. compare.sh sets the environment that was found fastest.
"""

import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

# vocabulary, width, layers, heads, key-value heads, feed-forward width, T, B
SHAPES = {
    "S": (4096, 256, 6, 8, 4, 704, 256, 8),
    "M": (32000, 512, 8, 8, 4, 1408, 512, 4),
    "L": (32000, 1024, 16, 16, 4, 2816, 512, 2),
}


class Block(nn.Module):
    def __init__(self, C, H, K, ffn):
        super().__init__()
        self.H, self.K, self.D = H, K, C // H
        self.norm1, self.norm2 = nn.RMSNorm(C, eps=1e-5), nn.RMSNorm(C, eps=1e-5)
        self.qkv = nn.Linear(C, (H + 2 * K) * self.D, bias=False)
        self.o = nn.Linear(C, C, bias=False)
        self.gate_up = nn.Linear(C, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, C, bias=False)

    def forward(self, x, cos, sin):
        B, T, C = x.shape
        q, k, v = self.qkv(self.norm1(x)).split([self.H * self.D, self.K * self.D, self.K * self.D], dim=2)
        q = turn(q.view(B, T, self.H, self.D).transpose(1, 2), cos, sin)
        k = turn(k.view(B, T, self.K, self.D).transpose(1, 2), cos, sin)
        v = v.view(B, T, self.K, self.D).transpose(1, 2)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(a.transpose(1, 2).reshape(B, T, C))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=2)
        return x + self.down(F.silu(gate) * up)


def turn(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class Decoder(nn.Module):
    def __init__(self, V, C, L, H, K, ffn, T):
        super().__init__()
        self.embed = nn.Embedding(V, C)
        self.blocks = nn.ModuleList(Block(C, H, K, ffn) for _ in range(L))
        self.norm = nn.RMSNorm(C, eps=1e-5)
        self.head = nn.Linear(C, V, bias=False)
        D = C // H
        angle = torch.outer(torch.arange(T), 10000.0 ** (-torch.arange(0, D, 2) / D))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, targets):
        x = self.embed(tokens)
        for b in self.blocks:
            x = b(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.reshape(-1))


def main():
    shape, precision, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    threads = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    V, C, L, H, K, ffn, T, B = SHAPES[shape]
    model = Decoder(V, C, L, H, K, ffn, T)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = torch.randint(V, (B, T + 1))
    seconds = []
    for i in range(steps + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    seconds = seconds[1:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"torch {shape} {precision} {threads} {B * T / statistics.median(seconds):.0f} {B * T / min(seconds):.0f} {peak:.0f}", flush=True)


if __name__ == "__main__":
    main()
