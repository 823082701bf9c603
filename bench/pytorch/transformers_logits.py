"""Load a folder that ravn exported with Hugging Face's transformers, and compare its logits with engine/ref's.

    python3 transformers_logits.py FOLDER OUT

OUT is what logits.go wrote of FOLDER; transformers.sh runs both. Prints a line with the largest difference of a logit, relative to
the largest logit, and how many next tokens are the same; where FOLDER has a tokenizer, whether it gives ravn's ids. Fails when
logits are off by more than 1e-5 of the largest, float32's roundings through some layers, or when ids differ.
"""

import json
import sys

import torch
import transformers

folder, out = sys.argv[1:3]
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
with open(f"{out}/ids.json") as f:
    ids = torch.tensor(json.load(f))
want = torch.from_file(f"{out}/logits.f32", size=ids.numel() * model.config.vocab_size).view(*ids.shape, -1)
with torch.no_grad():
    got = model(ids).logits
off = ((got - want).abs().max() / want.abs().max()).item()
same = (got.argmax(-1) == want.argmax(-1)).float().mean().item()
print(f"transformers {transformers.__version__}, {type(model).__name__}, {sum(p.numel() for p in model.parameters())} parameters, {got.dtype}")
print(f"logits of {ids.numel()} tokens: off by at most {off:.2g} of the largest, {100 * same:.1f} % of the most likely tokens are the same")
bad = not off < 1e-5
try:
    with open(f"{out}/texts.json") as f:
        texts = json.load(f)
except FileNotFoundError:
    texts = []
for text, row in zip(texts, ids.tolist()):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = [model.config.bos_token_id] + tokenizer(text, add_special_tokens=False).input_ids
    n = min(len(theirs), len(row))
    print(f"ids of a text of {len(text)} characters: {'the same' if theirs[:n] == row[:n] else 'DIFFERENT'}, {n} of {len(theirs)} compared")
    bad |= theirs[:n] != row[:n]
sys.exit(bad)
