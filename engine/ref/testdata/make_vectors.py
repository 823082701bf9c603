"""Writes vectors.json: what PyTorch computes, in float64 with autograd, for the decoders of gradient_test.go.

Run in this folder with Debian's python3 (torch 1.13). Weights, tokens and targets come from formulas that the Go tests
have too, so only results are stored: losses, logits, gradients, and parameters after three steps of AdamW with clipping.
"""
import json, math
import torch

torch.set_default_dtype(torch.float64)
EPS, THETA, SCALE, V, C, F = 1e-5, 100.0, 0.125, 13, 8, 12

def layout(K, D, tied, H=4, L=2):
    out = [("model.embed_tokens.weight", (V, C))]
    for l in range(L):
        p = f"model.layers.{l}."
        out += [(p + "input_layernorm.weight", (C,)), (p + "self_attn.q_proj.weight", (H * D, C)),
                (p + "self_attn.k_proj.weight", (K * D, C)), (p + "self_attn.v_proj.weight", (K * D, C)),
                (p + "self_attn.o_proj.weight", (C, H * D)), (p + "post_attention_layernorm.weight", (C,)),
                (p + "mlp.gate_proj.weight", (F, C)), (p + "mlp.up_proj.weight", (F, C)), (p + "mlp.down_proj.weight", (C, F))]
    out.append(("model.norm.weight", (C,)))
    return out if tied else out + [("lm_head.weight", (V, C))]

def weights(table):
    out = {}
    for n, (name, shape) in enumerate(table):
        x = [((((n * 7919 + i + 1) * 2654435761) % 2**32 >> 8) % 2003 - 1001) / 2048 for i in range(math.prod(shape))]
        x = torch.tensor(x).reshape(shape)
        out[name] = (x / 2 + 1 if len(shape) == 1 else x).requires_grad_()
    return out

def batch(B, T, lengths, shift=0):
    i = torch.arange(B * T)
    tokens, targets = (i * 7 + 3 + shift) % V, (i * 5 + 1) % V
    targets[i % 5 == 2] = -1
    pos = torch.cat([torch.arange(n) for n in lengths]).repeat(B).reshape(B, T)
    seg = torch.cat([torch.full((n,), s) for s, n in enumerate(lengths)]).repeat(B).reshape(B, T)
    return tokens.reshape(B, T), targets.reshape(B, T), pos, seg

def norm(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * w

def rope(x, pos):                      # x (B, heads, T, D)
    d = x.shape[-1]
    freq = THETA ** (-torch.arange(0, d, 2) / d)
    a = (pos[:, None, :, None] * freq).repeat(1, 1, 1, 2)
    half = torch.cat([-x[..., d // 2:], x[..., :d // 2]], -1)
    return x * a.cos() + half * a.sin()

def logits(w, tokens, pos, seg, K, D, window, H=4, L=2):
    B, T = tokens.shape
    i = torch.arange(T)
    see = (i[:, None] >= i) & (seg[:, :, None] == seg[:, None, :])
    if window:
        see = see & (i[:, None] - i < window)
    x = w["model.embed_tokens.weight"][tokens]
    for l in range(L):
        p = lambda n: w[f"model.layers.{l}.{n}.weight"]
        h = norm(x, p("input_layernorm"))
        q, k, v = [(h @ p(f"self_attn.{n}_proj").T).reshape(B, T, -1, D).transpose(1, 2) for n in "qkv"]
        q, k = rope(q, pos), rope(k, pos)
        k, v = [t.repeat_interleave(H // K, 1) for t in (k, v)]
        s = (q @ k.transpose(2, 3) / math.sqrt(D)).masked_fill(~see[:, None], -math.inf)
        a = (s.softmax(-1) @ v).transpose(1, 2).reshape(B, T, H * D)
        x = x + a @ p("self_attn.o_proj").T
        h = norm(x, p("post_attention_layernorm"))
        x = x + (torch.nn.functional.silu(h @ p("mlp.gate_proj").T) * (h @ p("mlp.up_proj").T)) @ p("mlp.down_proj").T
    return norm(x, w["model.norm.weight"]) @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T

def digest(x, whole):
    """All of a tensor, or its norm, its sum with the signs of the Go test, and some elements."""
    x = x.detach().flatten()
    if whole:
        return x.tolist()
    i = torch.arange(len(x))
    signs = 1 - (i * i // 3) % 2 * 2
    return [x.norm().item(), (x * signs).sum().item()] + x[:: 1 + len(x) // 5].tolist()

CASES = [  # name, K, D, tied, window, B, T, document lengths
    ("grouped query", 2, 4, False, 0, 2, 6, [6]), ("multi-head", 4, 4, False, 0, 2, 6, [6]),
    ("one key-value head", 1, 4, False, 0, 1, 6, [6]), ("tied", 2, 4, True, 0, 2, 6, [6]),
    ("wide heads", 2, 6, False, 0, 1, 5, [5]), ("sliding window", 2, 4, False, 3, 2, 8, [8]),
    ("segments", 2, 4, False, 0, 2, 9, [4, 1, 4]), ("segments and window", 2, 4, True, 2, 1, 9, [5, 4]),
]
result = []
for name, K, D, tied, window, B, T, lengths in CASES:
    table = layout(K, D, tied)
    w = weights(table)
    matrices = [t for t in w.values() if t.dim() > 1]
    norms = [t for t in w.values() if t.dim() == 1]
    opt = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}],
                            lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    whole = name == "segments and window"
    case = {"name": name, "whole": whole, "norms": []}
    for step in range(3):
        tokens, targets, pos, seg = batch(B, T, lengths, step)
        opt.zero_grad()
        out = logits(w, tokens, pos, seg, K, D, window)
        losses = torch.nn.functional.cross_entropy(out.reshape(-1, V), targets.flatten(), ignore_index=-1, reduction="none")
        (SCALE * losses.sum()).backward()
        if step == 0:
            case["losses"] = losses.tolist()
            case["logits"] = out.flatten().tolist() if whole else digest(out, False)
            case["grads"] = {n: digest(t.grad, whole) for n, t in w.items()}
        case["norms"].append(torch.nn.utils.clip_grad_norm_(w.values(), 1.0).item())
        opt.step()
    case["params"] = {n: digest(t, whole) for n, t in w.items()}
    result.append(case)
with open("vectors.json", "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in result) + "\n]\n")
