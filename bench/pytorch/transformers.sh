#!/usr/bin/env bash
# transformers.sh FOLDER|mistral [CHROOT]: does Hugging Face's transformers load what ravn exported (a release, a checkpoint, or with
# "mistral" a small random one with a sliding window), and compute the logits that engine/ref does? Needs Go, and python3 with
# transformers and torch, here or in CHROOT, a folder with Debian's python3-transformers (debootstrap forky; mount -t proc proc CHROOT/proc).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
folder=$1 chroot=${2:-}
[ "$folder" = mistral ] || folder=$(cd "$folder" && pwd)
cd "$(dirname "$0")/../.."
work=$(mktemp -d "$chroot/tmp/ravn-XXXXXX")
trap 'rm -rf "$work"' EXIT
go run bench/pytorch/logits.go "$folder" "$work"
cp bench/pytorch/transformers_logits.py "$work"
if [ "$folder" != mistral ]; then
	mkdir "$work/model"
	cp "$folder"/* "$work/model"
fi
inside=${work#"$chroot"}
${chroot:+chroot "$chroot"} python3 "$inside/transformers_logits.py" "$inside/model" "$inside"
