#!/usr/bin/env bash
# compare.sh CHROOT SHAPE ROUNDS STEPS [THREADS]: training steps of ravn and of PyTorch in turns, one line each
# (bench/pytorch/step.py says what stands in it). CHROOT is a folder with Debian's python3-torch and libopenblas0-openmp
# (debootstrap forky); the environment is the fastest that was found for it (OpenBLAS does not know Zen 5 and
# would take a kernel of 256 bits). PRECISIONS says which of fp32
# and bf16 for ravn, TORCH for PyTorch.
set -euo pipefail
cd "$(dirname "$0")/../.."
chroot=$1 shape=$2 rounds=$3 steps=$4 threads=${5:-2}
go build -o "${STEP:=/tmp/ravn-step}" bench/pytorch/step.go
cp bench/pytorch/step.py "$chroot/tmp/step.py"
for ((i = 0; i < rounds; i++)); do
	for p in ${PRECISIONS:-fp32 bf16}; do
		"$STEP" "$shape" "$p" "$steps" "$threads"
	done
	for p in ${TORCH:-fp32 bf16}; do
		env LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/openblas-openmp LD_PRELOAD=libsleef.so.3 OMP_NUM_THREADS="$threads" OPENBLAS_CORETYPE=SKYLAKEX \
			GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000:glibc.malloc.top_pad=268435456 \
			chroot "$chroot" python3 /tmp/step.py "$shape" "$p" "$steps" "$threads"
	done
done
