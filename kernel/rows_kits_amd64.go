//go:build !noasm

package kernel

import "golang.org/x/sys/cpu"

// rowsAVX2 puts the kits of AVX2 in place of the plain ones. Bytes stay signed, since sums of two products of unsigned
// bytes above 128 would not fit the instruction's 16 bits.
func rowsAVX2(l *level) {
	kit := rowKit{lanes: 8, vecs: 2, rows: 6, unit: 8, chunk: 256, tiles: tileFloatAVX2, quantize: quantizeAVX2}
	for f, pack := range [numFormats]func(*rowPack){packWordsAVX2, packF16AVX2, packBF16AVX2, packQ80AVX2, packQ40AVX2} {
		k := kit
		k.pack = pack
		l.rows[f] = k
	}
	l.rows[FormatF32].unit = 4
	for _, f := range []Format{FormatQ8, FormatQ4} {
		k := &l.rows[f]
		k.rows, k.unit, k.chunk, k.tiles = 2, quantBlock, 512, tileBlocksAVX2
	}
}

// rowsAVX512 does the same for AVX-512. Processors without the instructions for bfloat16 or bytes keep the ways of
// float32 and of AVX2.
func rowsAVX512(l *level) {
	kit := rowKit{lanes: 16, vecs: 4, rows: 6, unit: 8, chunk: 128, tiles: tileFloatAVX512, quantize: quantizeAVX2}
	for f, pack := range [...]func(*rowPack){packWordsAVX512, packF16AVX512, packBF16AVX512} {
		k := kit
		k.pack = pack
		l.rows[f] = k
	}
	k := &l.rows[FormatF32]
	k.unit = 4
	k.direct, k.directMost, k.directVecs, k.directUnit, k.directShare = directFloatAVX512, 4, 2, 16, 2
	if cpu.X86.HasAVX512BF16 {
		k := &l.rows[FormatBF16]
		k.pairs, k.unit, k.chunk, k.pack, k.tiles = true, pairUnit, pairChunk, packPairsAVX512, tilePairsAVX512
		k.direct, k.directMost, k.directVecs, k.directShare = directPairsAVX512, 4, 1, 4
	}
	if cpu.X86.HasAVX512VNNI {
		k := kit
		k.rows, k.unit, k.chunk, k.tiles = 3, quantBlock, 512, tileBlocksAVX512
		k.directMost, k.directVecs, k.directUnit, k.directShare = 6, 1, quantBlock, 2
		k.pack, k.direct, k.offset = packQ80AVX512, directQ80AVX512, 128
		l.rows[FormatQ8] = k
		k.pack, k.direct, k.offset = packQ40AVX512, directQ40AVX512, 8
		l.rows[FormatQ4] = k
	}
}
