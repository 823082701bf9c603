//go:build !unix || nommap

package weights

import (
	"errors"
	"io"
	"math"
	"os"
)

// mapFile reads the file where there is nothing to map it with.
func mapFile(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	if size > math.MaxInt {
		return nil, nil, errors.New("the file is too large for this machine's addresses")
	}
	data = make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && err != io.EOF {
		return nil, nil, err
	}
	return data, func() error { return nil }, nil
}
