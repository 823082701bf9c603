package cpu

import (
	"errors"
	"fmt"

	"ravn/model"
)

// check reports what is wrong with b, and returns one more than the largest position in it.
func (e *Engine) check(b *model.Batch) (positions int, err error) {
	if b == nil {
		return 0, errors.New("engine/cpu: no batch")
	}
	if err := b.Validate(e.config); err != nil {
		return 0, fmt.Errorf("engine/cpu: %w", err)
	}
	if b.Targets == nil {
		return 0, errors.New("engine/cpu: batch without targets has no loss")
	}
	if b.T > e.o.MaxRow {
		return 0, fmt.Errorf("engine/cpu: batch: rows of %d tokens, the engine was made for %d (MaxRow)", b.T, e.o.MaxRow)
	}
	if b.B > e.o.MaxTokens/b.T {
		return 0, fmt.Errorf("engine/cpu: batch: %d rows of %d tokens, the engine was made for %d tokens (MaxTokens)", b.B, b.T, e.o.MaxTokens)
	}
	if b.Positions == nil {
		positions = b.T
	}
	for i, p := range b.Positions {
		if int(p) >= e.maxPos {
			return 0, fmt.Errorf("engine/cpu: batch: row %d, token %d: position %d, the model knows 0 to %d (max_position_embeddings)", i/b.T, i%b.T, p, e.maxPos-1)
		}
		positions = max(positions, int(p)+1)
	}
	if positions > e.maxPos {
		return 0, fmt.Errorf("engine/cpu: batch: rows of %d tokens, the model knows %d positions (max_position_embeddings)", b.T, e.maxPos)
	}
	return positions, nil
}

// outside is the first place in x that is not in [low, high), or -1.
func outside(x []int32, low, high int) int {
	for i, v := range x {
		if int(v) < low || int(v) >= high {
			return i
		}
	}
	return -1
}

// segment is a stretch of rows of the flat batch that sees only itself.
type segment struct{ from, to int }

// segments appends the segments of b to dst.
func segments(dst []segment, b *model.Batch) []segment {
	for row := range b.B {
		from, end := row*b.T, (row+1)*b.T
		for i := from + 1; i < end; i++ {
			if b.Segments != nil && b.Segments[i] != b.Segments[i-1] {
				dst = append(dst, segment{from, i})
				from = i
			}
		}
		dst = append(dst, segment{from, end})
	}
	return dst
}
