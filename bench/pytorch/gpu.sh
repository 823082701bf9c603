#!/usr/bin/env bash
# gpu.sh RAVN [SECONDS] [SHAPE...] > FILE: what a first GPU should settle, a line of JSON each on stdout, within SECONDS (540)
# altogether. First whether the device computes what engine/ref does; then training steps of ravn and of PyTorch in turns, shape by
# shape (160m 1b 7b), small ones first; then further rounds while there is time, up to ROUNDS (3). Nothing that fails ends
# it: a line says why, the next begins, and further rounds leave it out. RAVN is a program built with -tags xla; RAVN_PJRT, ravn pull-plugin or an installed JAX
# says which plug-in it loads. PyTorch is python3's (PYTHON names another). One device each, so that the two can be compared;
# DEVICES=0 gives ravn all. A shape that has no room on the card gets as many layers as have, and PyTorch the same.
set -uo pipefail
[ $# -ge 1 ] || { sed -n '2,8s/^# //p' "$0" >&2; exit 2; }
ravn=$1 seconds=${2:-540}
shift $(($# > 1 ? 2 : 1))
[ $# -gt 0 ] || set -- 160m 1b 7b
[[ $seconds =~ ^[0-9]+$ ]] || { echo "gpu.sh: SECONDS is $seconds, not a number" >&2; exit 2; }
command -v "$ravn" >/dev/null || { echo "gpu.sh: there is no program $ravn" >&2; exit 2; }
python=${PYTHON:-python3} here=$(cd "$(dirname "$0")" && pwd) SECONDS=0

left() { echo $((seconds - SECONDS)); }

# failed NAME WHY: a line for what gave none.
failed() { printf '{"program": "%s", "shape": "%s", "error": "%s"}\n' "$1" "${shape:-}" "$2"; }

# bounded NAME MOST CMD...: CMD for at most MOST seconds and the time that is left, ended by TERM, at which what was measured is
# printed, and then by KILL. Its lines are passed on as they come; the last one is in $line, and what printed none gets one.
bounded() {
	local name=$1 most=$2 rc
	shift 2
	((most > $(left))) && most=$(left)
	((most < 5)) && { echo "gpu.sh: no time is left for $*" >&2; return 1; }
	echo "gpu.sh: at $SECONDS s, at most $most s: $*" >&2
	: >"$last"
	timeout -k 10 "$most" "$@" | while IFS= read -r line; do
		printf '%s\n' "$line"
		printf '%s' "$line" >"$last"
	done
	rc=${PIPESTATUS[0]} line=$(<"$last")
	[ "$rc" -eq 0 ] || echo "gpu.sh: exit code $rc from $*" >&2
	[ -n "$line" ] || failed "$name" "no result, exit code $rc (124 and 137: it took longer than $most s; stderr says more)"
	return "$rc"
}

last=$(mktemp)
trap 'rm -f "$last"' EXIT

timeout 60 "$ravn" doctor >&2
shape=parity
bounded ravn $((seconds / 4)) "$ravn" bench parity --devices "${DEVICES:-1}" --json

torch=yes
if ! command -v "$python" >/dev/null; then
	torch="there is no $python"
elif ! why=$(timeout 120 "$python" -c 'import torch' 2>&1); then
	torch="$python cannot import torch: $(tail -n 1 <<<"$why" | tr -cd '[:alnum:] ._:/()-')"
fi
shape=
[ "$torch" = yes ] || { failed torch "$torch"; echo "gpu.sh: $torch" >&2; }

declare -A took broken
for ((round = 1; round <= ${ROUNDS:-3}; round++)); do
	for shape in "$@"; do
		((round > 1 && ${took[$shape]:-0} + 10 > $(left))) && continue
		[ -n "${broken[ravn $shape]:-}" ] && { [ "$torch" != yes ] || [ -n "${broken[torch $shape]:-}" ]; } && continue
		began=$SECONDS
		room=$(left) layers=0 line=
		if [ -z "${broken[ravn $shape]:-}" ]; then
			bounded ravn "$room" "$ravn" bench xla --shape "$shape" --devices "${DEVICES:-1}" --fit --limit $((room / 3)) --json || broken[ravn $shape]=1
		fi
		[[ $line =~ \"layers\":([0-9]+) ]] && layers=${BASH_REMATCH[1]}
		if [ "$torch" = yes ] && [ -z "${broken[torch $shape]:-}" ]; then
			room=$(left)
			bounded torch "$room" "$python" "$here/gpu.py" "$shape" --layers "$layers" --limit $((room / 3)) || broken[torch $shape]=1
		fi
		took[$shape]=$((SECONDS - began))
	done
done
echo "gpu.sh: done after $SECONDS s" >&2
