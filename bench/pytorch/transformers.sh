#!/usr/bin/env bash
# transformers.sh FOLDER [CHROOT]: does Hugging Face's transformers load what ravn exported (a release, a checkpoint), and compute the
# logits that engine/ref does? Needs Go, and python3 with transformers and torch, here or in CHROOT, a folder with Debian's
# python3-transformers (debootstrap forky; mount -t proc proc CHROOT/proc).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
folder=$(cd "$1" && pwd) chroot=${2:-}
cd "$(dirname "$0")/../.."
work=$(mktemp -d "$chroot/tmp/ravn-XXXXXX")
trap 'rm -rf "$work"' EXIT
go run bench/pytorch/logits.go "$folder" "$work"
cp bench/pytorch/transformers_logits.py "$work"
if [ -n "$chroot" ]; then
	mkdir "$work/model"
	cp "$folder"/* "$work/model"
	inside=${work#"$chroot"}
	chroot "$chroot" python3 "$inside/transformers_logits.py" "$inside/model" "$inside"
else
	python3 "$work/transformers_logits.py" "$folder" "$work"
fi
