#!/usr/bin/env bash
# gpu.sh RAVN [ROUNDS] [SHAPE...]: training steps of ravn and of PyTorch on this machine's GPU in turns, a line of JSON each on
# stdout. RAVN is a program built with -tags xla; RAVN_PJRT or ravn pull-plugin says which plug-in it loads. PyTorch is
# python3's; without it only ravn is measured. One device each, so that the two can be compared; DEVICES=0 gives ravn all.
set -euo pipefail
ravn=$1 rounds=${2:-3}
shift; shift || true
for ((i = 0; i < rounds; i++)); do
	for shape in "${@:-7b}"; do
		"$ravn" bench xla --shape "$shape" --devices "${DEVICES:-1}" --json
		if python3 -c 'import torch' 2>/dev/null; then
			python3 "$(dirname "$0")/gpu.py" "$shape"
		fi
	done
done
