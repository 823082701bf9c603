#!/usr/bin/env bash
# speed.sh CHROOT ROUNDS prompt|decode GGUF...: ravn and llama.cpp in turns on the same files with two threads. CHROOT is a folder with
# Debian's llama.cpp-tools (debootstrap forky), under whose /tmp the files are linked. Prompts have 512 tokens; decoding writes 48 from an
# empty text, ravn after a prompt of 24 and llama-bench after its own warm-up. One line a round and file, tokens/s; medians at the end.
set -euo pipefail
chroot=$1 rounds=$2 what=$3
shift 3
here=$(dirname "$0")
speed=${SPEED:-/tmp/ravn-speed}
[ -n "${SPEED:-}" ] || go build -o "$speed" "$here/../inference/speed.go"
case $what in
prompt) ours=(-prompt 512 -decode 1) theirs=(-p 512 -n 0) ;;
decode) ours=(-prompt 24 -decode 48) theirs=(-p 0 -n 48) ;;
*) echo "prompt or decode?" >&2; exit 2 ;;
esac
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
for _ in $(seq "$rounds"); do
	for file in "$@"; do
		inside=/tmp/$(basename "$file")
		[ -e "$chroot$inside" ] || ln "$file" "$chroot$inside"
		a=$("$speed" run -rounds 1 -threads 2 "${ours[@]}" "$file" | sed -E "s/.*prompt 512: +([0-9.]+).*|.*decode: +([0-9.]+).*= +([0-9.]+) \(best.*reading: +([0-9.]+).*/\1\2 \3 \4/")
		b=$(chroot "$chroot" llama-bench -m "$inside" -t 2 "${theirs[@]}" -r 1 ${LLAMA:-} -o csv 2>/dev/null | python3 -c 'import csv,sys; print(list(csv.DictReader(sys.stdin))[0]["avg_ts"])')
		echo "$(basename "$file" .gguf) $a llama.cpp $b" | tee -a "$lines"
	done
done
python3 - "$lines" <<'P'
import sys, statistics as st, collections
rows = collections.defaultdict(list)
for line in open(sys.argv[1]):
    name, *f = line.split()
    rows[name].append((float(f[0]), float(f[-1]), float(f[1]) if len(f) > 3 else 0, float(f[2]) if len(f) > 3 else 0))
for name, r in rows.items():
    a, b, g, m = (sorted(x) for x in zip(*r))
    text = f"{name}: ravn {st.median(a):.1f} [{a[0]:.1f}, {a[-1]:.1f}]  llama.cpp {st.median(b):.1f} [{b[0]:.1f}, {b[-1]:.1f}]  ratio {st.median(a) / st.median(b):.2f}"
    if m[-1]:
        text += f"  {st.median(g):.1f} GB/s of {st.median(m):.1f} read = {st.median(x[2] / x[3] for x in r):.2f}"
    print(text, f" n={len(r)}")
P
