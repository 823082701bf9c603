#!/usr/bin/env bash
# check.sh CHROOT MODEL [TEXT...]: does llama.cpp read what ravn exports as ravn does? MODEL is a Hugging Face folder or a GGUF file,
# CHROOT a folder with Debian's llama.cpp-tools (debootstrap forky). For each number format the greedy continuation of a prompt is
# compared, and for each TEXT, a file, the ids of the whole file and of each of its first 200 lines. Q4_0 is only shown:
# llama.cpp rounds what it multiplies with to eight bits there, and a small model then goes another way at a close choice.
set -euo pipefail
cd "$(dirname "$0")/../.."
chroot=$1 model=$2
shift 2
go build -o /tmp/ravn-check ./cmd/ravn
work=$(mktemp -d "$chroot/tmp/ravn.XXXXXX")
trap 'rm -rf "$work"' EXIT
inside=${work#"$chroot"}
prompt=${PROMPT:-Ravnen fløj over marken} tokens=${TOKENS:-40} bad=0
for d in f32 f16 bf16 q8_0 q4_0; do
	/tmp/ravn-check convert "$model" "$work/$d.gguf" --dtype $d --no-check >/dev/null 2>&1
	want=$(/tmp/ravn-check generate "$work/$d.gguf" --prompt "$prompt" --max-tokens "$tokens")
	# Two tokens more, because the program may end before its last ones are printed.
	got=$(chroot "$chroot" llama-completion -m "$inside/$d.gguf" -p "$prompt" -n $((tokens + 2)) --temp 0 --top-k 1 -no-cnv -t 2 --no-warmup 2>/dev/null </dev/null)
	if [[ "$(tr -d ' \n' <<<"$got")" = "$(tr -d ' \n' <<<"$want")"* ]]; then
		echo "$d: the same $tokens tokens"
	else
		printf '%s: differs\n  ravn:      %s\n  llama.cpp: %s\n' $d "$want" "$got"
		[ $d = q4_0 ] || bad=1
	fi
done
# ids FILE: as llama.cpp finds them, without BOS and without taking special strings for special tokens.
ids() { chroot "$chroot" llama-tokenize -m "$inside/f32.gguf" -f "$inside/$1" --ids --no-bos --no-escape --no-parse-special --log-disable 2>/dev/null | tr -d '[] \n'; }
# ours FILE: as ravn does.
ours() {
	python3 -c 'import json,sys; print(json.dumps({"text": open(sys.argv[1], encoding="utf-8", newline="").read()}))' "$work/$1" |
		/tmp/ravn-check tokenizer encode --model "$model" --json | python3 -c 'import json,sys; print(*json.load(sys.stdin)["ids"], sep=",", end="")'
}
same=0 all=0
for text in "$@"; do
	cp "$text" "$work/text"
	head -n 200 "$text" >"$work/lines"
	all=$((all + 1))
	if [ "$(ids text)" = "$(ours text)" ]; then same=$((same + 1)); else echo "ids of the whole of $text differ" && bad=1; fi
	while IFS= read -r line; do
		printf %s "$line" >"$work/line"
		[ -s "$work/line" ] || continue
		all=$((all + 1))
		if [ "$(ids line)" = "$(ours line)" ]; then same=$((same + 1)); else echo "ids differ: $line" && bad=1; fi
	done <"$work/lines"
done
echo "ids: $same of $all texts are the same"
exit $bad
