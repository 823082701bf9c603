//go:build !noasm

package kernel

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go run -C _gen .

func assembly() []*level {
	var ls []*level
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		l := portable
		l.name = "avx2"
		vectorsAVX2(&l)
		rowsAVX2(&l)
		l.tiles = tiles{
			rows: 6, cols: 16, lanes: 8, maxRows: 256,
			tile: tileAVX2, transpose: transposeAVX2, copyRows: copyRowsAVX2,
			sweep: sweepAVX2,
		}
		l.halves = halvesOf(l.tiles)
		l.peak = peak{f32: peakLoop{peakF32AVX2, 12 * 8 * 2}, read: readAllAVX2}
		ls = append(ls, &l)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL {
			l := l
			l.name = "avx512"
			vectorsAVX512(&l)
			rowsAVX512(&l)
			l.tiles = tiles{
				rows: 6, cols: 64, lanes: 16, maxRows: 1024,
				tile: tileAVX512, transpose: transposeAVX512, copyRows: copyRowsAVX512,
				sweep: sweepAVX512, turned: turnedAVX512[:],
			}
			l.halves = halvesOf(l.tiles)
			l.peak = peak{f32: peakLoop{peakF32AVX512, 24 * 16 * 2}, read: readAllAVX512}
			if cpu.X86.HasAVX512BF16 {
				l.halves = halvesBF16(l.tiles)
				l.peak.bf16 = peakLoop{peakBF16AVX512, 24 * 32 * 2}
			}
			if cpu.X86.HasAVX512VNNI {
				l.peak.int8 = peakLoop{peakInt8AVX512, 24 * 64 * 2}
			}
			ls = append(ls, &l)
		}
	}
	return ls
}

// halvesBF16 multiplies pairs with VDPBF16PS.
func halvesBF16(t tiles) halves {
	h := halves{tiles: t, slots: 1, round: roundRowBF16, widen: widenRowBF16, pairF32: pairRowsBF16, pairBF16: pairHalvesBF16}
	h.tile, h.maxRows = tileBF16, 1024
	h.packF32 = func(dst, src *float32, n int) { roundRowBF16((*uint16)(unsafe.Pointer(dst)), src, n) }
	h.packBF16 = func(dst *float32, src *uint16, n int) {
		copy(unsafe.Slice((*uint16)(unsafe.Pointer(dst)), n), unsafe.Slice(src, n))
	}
	return h
}

// CPU describes the processor for manifests: architecture and the features that kernels use or will use.
func CPU() string {
	s := []string{"amd64"}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx2", cpu.X86.HasAVX2},
		{"fma", cpu.X86.HasFMA},
		{"avx512", cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL},
		{"avx512vnni", cpu.X86.HasAVX512VNNI},
		{"avx512bf16", cpu.X86.HasAVX512BF16},
	} {
		if f.has {
			s = append(s, f.name)
		}
	}
	return strings.Join(s, " ")
}
