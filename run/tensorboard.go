package run

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"path/filepath"
	"strings"

	"ravn/internal/atomicfile"
)

// tensorBoardName is the file's name in its folder: TensorBoard looks for "tfevents".
const tensorBoardName = "events.out.tfevents.0000000000.ravn"

// WriteTensorBoard writes the numbers of events as a TensorBoard event file into dir, whole or not at all, and returns
// its path. Each event's wall time is its step, in seconds since 1970, so that equal events make equal bytes.
//
// The tags: train/FIELD for the numbers of "step", heldout/LANGUAGE[/SOURCE]/bpb and /loss for "valid", and
// guard/GROUP/change for "guard". Other kinds have no curve. The format: docs/design/tensorboard.md.
func WriteTensorBoard(dir string, events []Event) (string, error) {
	b := appendRecord(nil, appendBytes(nil, 3, "brain.Event:2")) // file_version, at time 0
	for i := range events {
		if values := summary(&events[i]); len(values) > 0 {
			b = appendRecord(b, appendEventProto(nil, events[i].Step, values))
		}
	}
	path := filepath.Join(dir, tensorBoardName)
	return path, atomicfile.WriteFile(path, b)
}

// summary is the Summary message of an event, empty where it has no curve.
func summary(e *Event) []byte {
	var b []byte
	add := func(tag string, v float64) {
		value := appendBytes(nil, 1, tag)
		value = binary.AppendUvarint(value, 2<<3|5) // simple_value, float
		value = binary.LittleEndian.AppendUint32(value, math.Float32bits(float32(v)))
		b = appendBytes(b, 1, string(value))
	}
	switch e.Kind {
	case "step":
		for _, name := range e.Names {
			if v, ok := e.Float(name); ok {
				add("train/"+name, v)
			}
		}
	case "valid":
		language, _ := e.Text("language")
		source, _ := e.Text("source")
		for _, name := range []string{"bpb", "loss"} {
			if v, ok := e.Float(name); ok {
				add(tag("heldout", language, source, name), v)
			}
		}
	case "guard":
		group, _ := e.Text("group")
		if v, ok := e.Float("change"); ok {
			add(tag("guard", group, "change"), v)
		}
	}
	return b
}

// tag joins the parts that are not empty.
func tag(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "/")
}

// appendEventProto is the Event message: wall_time 1 double, step 2 int64, summary 5.
func appendEventProto(b []byte, step int, summary []byte) []byte {
	b = binary.AppendUvarint(b, 1<<3|1)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(step)))
	b = binary.AppendUvarint(b, 2<<3) // a varint
	b = binary.AppendUvarint(b, uint64(step))
	return appendBytes(b, 5, string(summary))
}

// appendBytes is a field of a string, bytes or message.
func appendBytes(b []byte, field int, text string) []byte {
	b = binary.AppendUvarint(b, uint64(field)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is TFRecord's sum of b: the CRC-32C, turned right by 15 bits, plus a constant.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// appendRecord is a TFRecord: length, its sum, data, its sum.
func appendRecord(b, data []byte) []byte {
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(data)))
	b = append(b, length[:]...)
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(length[:]))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, maskedCRC(data))
}
