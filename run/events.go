package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"sync"
)

// Events appends measurements to a file, one JSON object a line:
//
//	{"event":"train","step":40,"loss":3.25,"tokens":32768}
//
// "event" and "step" come first, then the fields in the order of the call. Floats are written with the fewest digits
// that read back the same; those that JSON lacks as "NaN", "Inf" and "-Inf". No time of day is written, so that equal
// runs make equal files. It may be used from several goroutines, but then the order of lines is theirs.
type Events struct {
	mu   sync.Mutex
	file *os.File
	size int64
	line []byte
}

// KeepAll is the truncateTo of OpenEvents that keeps every whole line.
const KeepAll = -1

// OpenEvents opens path for appending, making it when it is missing. With truncateTo >= 0 the file is first cut to that
// many bytes, as when a run goes back to a checkpoint that noted Size; 0 begins anew. With KeepAll only a last line
// that a killed process left unfinished is cut off.
func OpenEvents(path string, truncateTo int64) (*Events, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("run: events: %w", err)
	}
	fail := func(err error) (*Events, error) {
		file.Close()
		return nil, fmt.Errorf("run: %s: %w", path, err)
	}
	info, err := file.Stat()
	if err != nil {
		return fail(err)
	}
	size := truncateTo
	if truncateTo < 0 {
		if size, err = lastLineEnd(file, info.Size()); err != nil {
			return fail(err)
		}
	}
	if size > info.Size() {
		return fail(fmt.Errorf("holds %d bytes, but the checkpoint was made when it held %d\n\t(the file was cut or replaced; go on from an earlier checkpoint, or start anew)", info.Size(), size))
	}
	if end, err := lastLineEnd(file, size); err != nil {
		return fail(err)
	} else if end != size {
		return fail(fmt.Errorf("byte %d is within a line, so the file is not the one that the checkpoint was made with", size))
	}
	if err := file.Truncate(size); err != nil {
		return fail(err)
	}
	if _, err := file.Seek(size, io.SeekStart); err != nil {
		return fail(err)
	}
	return &Events{file: file, size: size}, nil
}

// lastLineEnd is the offset just behind the last line break among the first size bytes.
func lastLineEnd(file io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 4096)
	for size > 0 {
		n := min(int64(len(buf)), size)
		if _, err := file.ReadAt(buf[:n], size-n); err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return size - n + int64(i) + 1, nil
		}
		size -= n
	}
	return 0, nil
}

// Write appends one line. Fields are names and values in turn; values are strings, booleans, integers, floats, nil, or
// slices of strings, ints or floats.
func (e *Events) Write(kind string, step int, fields ...any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	line, err := appendEvent(e.line[:0], kind, step, fields)
	if err != nil {
		return fmt.Errorf("run: event %q at step %d: %w", kind, step, err)
	}
	e.line = line
	if _, err := e.file.WriteAt(line, e.size); err != nil {
		return fmt.Errorf("run: event %q at step %d: %w", kind, step, err)
	}
	e.size += int64(len(line))
	return nil
}

// Size is the number of bytes in the file, for checkpoints.
func (e *Events) Size() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.size
}

// Sync makes what was written durable. A checkpoint that notes Size calls it first.
func (e *Events) Sync() error {
	if err := e.file.Sync(); err != nil {
		return fmt.Errorf("run: events: %w", err)
	}
	return nil
}

// Close syncs and closes the file.
func (e *Events) Close() error {
	err := e.file.Sync()
	if e := e.file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("run: events: %w", err)
	}
	return nil
}

func appendEvent(b []byte, kind string, step int, fields []any) ([]byte, error) {
	if kind == "" {
		return nil, errors.New("it has no kind")
	}
	if len(fields)%2 != 0 {
		return nil, errors.New("the last name has no value")
	}
	b = append(b, `{"event":`...)
	b = appendString(b, kind)
	b = append(b, `,"step":`...)
	b = strconv.AppendInt(b, int64(step), 10)
	for i := 0; i < len(fields); i += 2 {
		name, ok := fields[i].(string)
		if !ok {
			return nil, fmt.Errorf("%v stands where a name should", fields[i])
		}
		if name == "event" || name == "step" {
			return nil, fmt.Errorf("field %q is taken", name)
		}
		for j := 0; j < i; j += 2 {
			if fields[j] == name {
				return nil, fmt.Errorf("field %q is given twice", name)
			}
		}
		b = append(b, ',')
		b = appendString(b, name)
		b = append(b, ':')
		var err error
		if b, err = appendValue(b, fields[i+1]); err != nil {
			return nil, fmt.Errorf("field %q: %w", name, err)
		}
	}
	return append(b, "}\n"...), nil
}

func appendValue(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...), nil
	case string:
		return appendString(b, v), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int32:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case uint64:
		return strconv.AppendUint(b, v, 10), nil
	case float64:
		return appendFloat(b, v, 64), nil
	case float32:
		return appendFloat(b, float64(v), 32), nil
	case []string:
		return appendSlice(b, v)
	case []int:
		return appendSlice(b, v)
	case []float64:
		return appendSlice(b, v)
	case []float32:
		return appendSlice(b, v)
	}
	return nil, fmt.Errorf("values of type %T are not written", value)
}

func appendSlice[T any](b []byte, values []T) ([]byte, error) {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, v); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendFloat(b []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(b, `"Inf"`...)
	case math.IsInf(v, -1):
		return append(b, `"-Inf"`...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, bits)
}

func appendString(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("run: a string is always JSON: " + err.Error())
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// Event is one line of an events file.
type Event struct {
	Kind   string
	Step   int
	Names  []string // of the fields, as written
	Fields map[string]any
	Line   int // counted from 1 where reading began
}

// Float is a field as a number; "NaN", "Inf" and "-Inf" are numbers too.
func (e *Event) Float(name string) (float64, bool) {
	switch v := e.Fields[name].(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case string:
		switch v {
		case "NaN":
			return math.NaN(), true
		case "Inf":
			return math.Inf(1), true
		case "-Inf":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

// Int is a field as a whole number.
func (e *Event) Int(name string) (int64, bool) {
	if v, ok := e.Fields[name].(json.Number); ok {
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}

// Text is a field as a string.
func (e *Event) Text(name string) (string, bool) {
	s, ok := e.Fields[name].(string)
	return s, ok
}

// ReadEvents reads all whole lines of an events file; a last line without its end is still being written and is left
// out. A missing file holds no events.
func ReadEvents(path string) ([]Event, error) {
	events, _, err := ReadEventsFrom(path, 0)
	return events, err
}

// ReadEventsFrom reads the whole lines behind a byte offset, and says where to read on. It serves those who watch a
// run. A file that has become shorter than the offset, as when a run goes back to a checkpoint, gives no events and a
// next of 0: forget what was read, and begin again.
func ReadEventsFrom(path string, offset int64) (events []Event, next int64, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("run: events: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("run: events: %w", err)
	}
	if offset < 0 || offset > info.Size() {
		return nil, 0, nil
	}
	data := make([]byte, info.Size()-offset)
	n, err := file.ReadAt(data, offset)
	if err != nil && err != io.EOF {
		return nil, 0, fmt.Errorf("run: events: %w", err)
	}
	data = data[:n]
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	next = offset + int64(len(data))
	for line := 1; len(data) > 0; line++ {
		text, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		e, err := parseEvent(text)
		if err != nil {
			return nil, 0, fmt.Errorf("run: %s:%d: %w\n\t(a line is one JSON object that begins with \"event\" and \"step\"; cut the file before this line to read the rest)", path, line, err)
		}
		e.Line = line
		events = append(events, e)
	}
	return events, next, nil
}

func parseEvent(line []byte) (Event, error) {
	e := Event{Fields: map[string]any{}}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return e, errors.New("not a JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return e, err
		}
		name := t.(string) // the decoder takes nothing else for a key
		var value any
		if err := dec.Decode(&value); err != nil {
			return e, fmt.Errorf("field %q: %w", name, err)
		}
		if _, twice := e.Fields[name]; twice {
			return e, fmt.Errorf("field %q is given twice", name)
		}
		e.Fields[name] = value
		e.Names = append(e.Names, name)
	}
	if _, err := dec.Token(); err != nil {
		return e, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return e, errors.New("more than one object")
	}
	kind, ok := e.Text("event")
	if !ok || kind == "" {
		return e, errors.New(`no "event", or it is not a string`)
	}
	step, ok := e.Int("step")
	if !ok {
		return e, errors.New(`no "step", or it is not a whole number`)
	}
	delete(e.Fields, "event")
	delete(e.Fields, "step")
	names := e.Names[:0]
	for _, n := range e.Names {
		if n != "event" && n != "step" {
			names = append(names, n)
		}
	}
	e.Kind, e.Step, e.Names = kind, int(step), names
	return e, nil
}
