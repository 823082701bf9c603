#!/usr/bin/env bash
# engines.sh RAVN WORK: does one recipe give the same losses on both engines, and does a run move between them?
# recipes/sample-da.yaml with its data (RAVN_DATA), cut to 35,000 parameters and 24 + 24 steps, is trained in WORK/cpu on engine/cpu
# and in WORK/xla on engine/xla, which is plain Go unless RAVN_PJRT or a plug-in says otherwise. WORK/moved goes on from cpu's
# checkpoint of step 8 on engine/xla, and from step 16 of that on engine/cpu. Printed is the largest relative difference of a loss from
# WORK/cpu's; more than 1e-4 fails (24 steps of AdamW magnify float32's roundings). Two minutes on two cores, most of it the corpus.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,7s/^# //p' "$0" >&2; exit 2; }
ravn=$(command -v "$1") recipes=$(cd "$(dirname "$0")/../recipes" && pwd)
mkdir -p "$2"
cd "$2"
cp -r "$recipes/rights" .
sed -e 's/max_documents: 8}/max_documents: 2}/; s/train: 8192}/train: 512}/; s/seq_tokens: 512/seq_tokens: 64/' \
	-e 's/hidden_size: 384/hidden_size: 32/; s/intermediate_size: 1024/intermediate_size: 64/; s/num_hidden_layers: 6/num_hidden_layers: 2/' \
	-e 's/num_attention_heads: 6/num_attention_heads: 2/; s/num_key_value_heads: 2/num_key_value_heads: 1/' \
	-e 's/steps: 300/steps: 24/; s/rows_per_step: 8/rows_per_step: 2/; s/warmup_steps: [0-9]*/warmup_steps: 4/' \
	-e 's/validate_every: [0-9]*/validate_every: 12/; s/^\( *\)checkpoint_every: 75/\1checkpoint_every: 8\n\1keep_checkpoints: 9/' \
	"$recipes/sample-da.yaml" >toy.yaml

train() { echo "== engine $2 in $1"; "$ravn" train toy.yaml --out "$1" --engine "$2"; }
rm -rf cpu xla moved
train cpu cpu
mkdir xla
cp -r cpu/{recipe.yaml,manifest.json,rights,corpus,tokenizer,shards} xla
train xla xla
cp -r cpu moved
rm -r moved/checkpoints/step-000016 moved/checkpoints/step-000024
train moved xla
rm -r moved/checkpoints/step-000024
train moved cpu

python3 - <<'END'
import json, sys

def losses(folder, part):
    with open(f"{folder}/{part}") as f:
        return [(e["event"], e["step"], e["loss"]) for e in map(json.loads, f) if "loss" in e]

worst = 0
for folder in "xla", "moved":
    for part in "base/events.jsonl", "events.jsonl":
        a, b = losses("cpu", part), losses(folder, part)
        if [x[:2] for x in a] != [x[:2] for x in b] or not a:
            sys.exit(f"{folder}/{part} has {len(b)} losses, cpu's {len(a)}")
        off = max(abs(x[2] / y[2] - 1) for x, y in zip(b, a))
        worst = max(worst, off)
        print(f"{folder}/{part}: {len(a)} losses, off by at most {off:.2g}")
sys.exit(not worst <= 1e-4)
END
