package tokenizer

import "math"

// writeModel writes a SentencePiece model: what the reference needs to encode and decode as this package does, and
// the options it was trained with, under SentencePiece's names for them.
func writeModel(pieces []piece, o *TrainOptions) []byte {
	var tr []byte
	tr = appendVarint(tr, 3, typeBPE)
	tr = appendVarint(tr, 4, uint64(len(pieces)))
	tr = appendFloat(tr, 10, float32(o.CharacterCoverage))
	tr = appendVarint(tr, 20, uint64(o.MaxPieceChars))
	tr = appendBool(tr, 21, o.SplitScripts)
	tr = appendBool(tr, 22, true) // split_by_whitespace
	tr = appendBool(tr, 23, o.SplitScripts)
	tr = appendBool(tr, 25, o.SplitDigits)
	tr = appendBool(tr, 26, o.WhitespacePieces)
	for _, s := range o.Control {
		tr = appendBytes(tr, 30, s)
	}
	for _, s := range o.UserDefined {
		tr = appendBytes(tr, 31, s)
	}
	tr = appendBool(tr, 35, true) // byte_fallback
	tr = appendVarint(tr, 40, 0)  // unk_id
	tr = appendVarint(tr, 41, 1)  // bos_id
	tr = appendVarint(tr, 42, 2)  // eos_id
	pad := uint64(math.MaxUint64) // pad_id -1
	if o.Pad {
		pad = 3
	}
	tr = appendVarint(tr, 43, pad)
	return joinModel(pieces, tr, true)
}

// joinModel puts pieces, a trainer_spec and the identity normalisation together.
func joinModel(pieces []piece, trainer []byte, dummyPrefix bool) []byte {
	var out []byte
	for _, q := range pieces {
		out = appendPiece(out, q)
	}
	out = appendBytes(out, 2, string(trainer))

	var norm []byte
	norm = appendBytes(norm, 1, "identity")
	norm = appendBool(norm, 3, dummyPrefix) // add_dummy_prefix
	norm = appendBool(norm, 4, false)       // remove_extra_whitespaces
	norm = appendBool(norm, 5, true)        // escape_whitespaces
	return appendBytes(out, 3, string(norm))
}

func appendPiece(dst []byte, q piece) []byte {
	b := appendBytes(nil, 1, q.text)
	b = appendFloat(b, 2, q.score)
	if q.kind != Normal {
		b = appendVarint(b, 3, uint64(q.kind))
	}
	return appendBytes(dst, 1, string(b))
}
