package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"ravn/model"
)

// Hash is model.Weights.Hash of a model on disk, reckoned without holding its numbers in memory: equal for equal
// weights, whatever file they come from.
func Hash(m Model) (string, error) {
	h := sha256.New()
	ts := m.Tensors()
	layout := m.Config().Layout()
	if len(ts) != len(layout) {
		return "", fmt.Errorf("weights: %d tensors, the configuration has %d (is the model closed?)", len(ts), len(layout))
	}
	var x []float32
	var buf []byte
	for i, p := range layout {
		t := ts[i]
		fmt.Fprintf(h, "%s %d\n", p.Name, p.Shape)
		row := p.Shape[len(p.Shape)-1]
		size := t.DType.RowBytes(row)
		if size == 0 || len(t.Data) != size*(p.Size/row) {
			return "", fmt.Errorf("weights: tensor %q has %d bytes of %s for %d numbers", t.Name, len(t.Data), t.DType, p.Size)
		}
		rows := max(1, 1<<18/row)
		for at := 0; at < len(t.Data); at += rows * size {
			part := model.Tensor{Name: t.Name, DType: t.DType, Data: t.Data[at:min(len(t.Data), at+rows*size)]}
			n := len(part.Data) / size * row
			if len(x) < n {
				x, buf = make([]float32, n), make([]byte, 4*n)
			}
			if err := ToF32(x[:n], part); err != nil {
				return "", err
			}
			FromF32(buf[:4*n], x[:n], model.F32)
			h.Write(buf[:4*n])
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
