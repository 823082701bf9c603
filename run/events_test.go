package run

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func openEvents(t *testing.T, path string, truncateTo int64) *Events {
	t.Helper()
	e, err := OpenEvents(path, truncateTo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func emit(t *testing.T, e *Events, kind string, step int, fields ...any) {
	t.Helper()
	if err := e.Write(kind, step, fields...); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEventLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	e := openEvents(t, path, KeepAll)
	emit(t, e, "train", 1, "loss", 3.25, "lr", 3e-4, "tokens", 32768, "third", float32(1)/3, "big", 1e21)
	emit(t, e, "guard", 2, "loss", math.NaN(), "up", math.Inf(1), "down", math.Inf(-1), "stop", true, "none", nil)
	emit(t, e, "note", -1, "text", "<æ> \"\n\u2028", "names", []string{"a", "b"}, "ks", []int{1, 2}, "ps", []float64{0.1, math.NaN()}, "none", []float32{})
	emit(t, e, "end", 3, "n", int32(-4), "m", int64(math.MinInt64), "u", uint64(math.MaxUint64))
	want := `{"event":"train","step":1,"loss":3.25,"lr":0.0003,"tokens":32768,"third":0.33333334,"big":1e+21}
{"event":"guard","step":2,"loss":"NaN","up":"Inf","down":"-Inf","stop":true,"none":null}
{"event":"note","step":-1,"text":"<æ> \"\n\u2028","names":["a","b"],"ks":[1,2],"ps":[0.1,"NaN"],"none":[]}
{"event":"end","step":3,"n":-4,"m":-9223372036854775808,"u":18446744073709551615}
`
	if diff := cmp.Diff(contents(t, path), want); diff != "" {
		t.Errorf("file (-got +want):\n%s", diff)
	}
	if e.Size() != int64(len(want)) {
		t.Errorf("size %d, want %d", e.Size(), len(want))
	}

	events, err := ReadEvents(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 4 {
		t.Fatalf("%d events, want 4", len(events))
	}
	train, guard, note, end := &events[0], &events[1], &events[2], &events[3]
	if diff := cmp.Diff(train.Names, []string{"loss", "lr", "tokens", "third", "big"}); diff != "" || train.Kind != "train" || train.Step != 1 || train.Line != 1 {
		t.Errorf("first event %+v\n%s", train, diff)
	}
	if v, ok := train.Float("lr"); v != 3e-4 || !ok {
		t.Errorf("lr %v %v", v, ok)
	}
	if v, ok := guard.Float("loss"); !math.IsNaN(v) || !ok {
		t.Errorf("loss %v %v", v, ok)
	}
	if v, ok := guard.Float("down"); !math.IsInf(v, -1) || !ok {
		t.Errorf("down %v %v", v, ok)
	}
	if _, ok := guard.Float("stop"); ok {
		t.Error("a boolean read as a number")
	}
	if s, ok := note.Text("text"); s != "<æ> \"\n\u2028" || !ok || note.Step != -1 {
		t.Errorf("text %q %v", s, ok)
	}
	if n, ok := end.Int("m"); n != math.MinInt64 || !ok {
		t.Errorf("m %d %v", n, ok)
	}
	if _, ok := end.Int("u"); ok {
		t.Error("a number beyond int64 read as one")
	}
}

func TestEventErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	e := openEvents(t, path, KeepAll)
	for _, c := range []struct {
		name   string
		kind   string
		fields []any
		want   string
	}{
		{"no kind", "", nil, "it has no kind"},
		{"odd", "train", []any{"loss"}, "the last name has no value"},
		{"name", "train", []any{3, "loss"}, "3 stands where a name should"},
		{"taken", "train", []any{"step", 3}, `field "step" is taken`},
		{"twice", "train", []any{"a", 3, "a", 4}, `field "a" is given twice`},
		{"type", "train", []any{"a", struct{}{}}, `field "a": values of type struct {} are not written`},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, e.Write(c.kind, 7, c.fields...), "at step 7: "+c.want) })
	}
	if e.Size() != 0 || contents(t, path) != "" {
		t.Error("a refused event left something")
	}
}

// The promise behind exact resume: cut back to a checkpoint and written again, the file is the same.
func TestEventsResume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	e := openEvents(t, path, 0)
	var at int64
	for step := 1; step <= 10; step++ {
		emit(t, e, "train", step, "loss", 1/float64(step))
		if step == 6 {
			at = e.Size()
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	want := contents(t, path)
	write(t, path, want[:len(want)-9]) // torn by a kill
	e = openEvents(t, path, at)
	for step := 7; step <= 10; step++ {
		emit(t, e, "train", step, "loss", 1/float64(step))
	}
	if got := contents(t, path); got != want {
		t.Errorf("resumed:\n%s\nuninterrupted:\n%s", got, want)
	}
	e.Close()

	write(t, path, want[:len(want)-9])
	events, err := ReadEvents(path)
	if err != nil || len(events) != 9 {
		t.Errorf("of a file being written: %d events, %v; want 9", len(events), err)
	}
	e = openEvents(t, path, KeepAll)
	emit(t, e, "train", 10, "loss", 0.1)
	if got := contents(t, path); got != want {
		t.Errorf("after a torn line:\n%s", got)
	}
	e.Close()
	openEvents(t, path, 0).Close()
	if got := contents(t, path); got != "" {
		t.Errorf("begun anew: %q", got)
	}

	write(t, path, want)
	_, err = OpenEvents(path, at+3)
	check(t, err, "is within a line")
	_, err = OpenEvents(path, int64(len(want))+1)
	check(t, err, "but the checkpoint was made when it held", "earlier checkpoint")
	if contents(t, path) != want {
		t.Error("a refused opening changed the file")
	}
	_, err = OpenEvents(t.TempDir(), 0)
	check(t, err, "is a directory")
}

func TestReadEventsFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if events, next, err := ReadEventsFrom(path, 0); events != nil || next != 0 || err != nil {
		t.Errorf("missing file: %v %d %v", events, next, err)
	}
	e := openEvents(t, path, 0)
	emit(t, e, "a", 1)
	_, next, err := ReadEventsFrom(path, 0)
	if err != nil || next != e.Size() {
		t.Fatalf("next %d, %v", next, err)
	}
	emit(t, e, "b", 2)
	events, next, err := ReadEventsFrom(path, next)
	if err != nil || len(events) != 1 || events[0].Kind != "b" || next != e.Size() {
		t.Errorf("read on: %v %d %v", events, next, err)
	}
	if events, next, err = ReadEventsFrom(path, next+1); events != nil || next != 0 || err != nil {
		t.Errorf("file became shorter: %v %d %v", events, next, err)
	}
}

func TestReadEventsErrors(t *testing.T) {
	good := `{"event":"a","step":1}` + "\n"
	for _, c := range []struct{ name, line, want string }{
		{"empty", "", "not a JSON object"},
		{"array", "[1]", "not a JSON object"},
		{"torn inside", `{"event":"a","st` + "\n" + good, "unexpected EOF"},
		{"no event", `{"step":1}`, `no "event"`},
		{"event a number", `{"event":1,"step":1}`, `no "event"`},
		{"no step", `{"event":"a"}`, `no "step"`},
		{"step a fraction", `{"event":"a","step":1.5}`, `no "step"`},
		{"step a text", `{"event":"a","step":"1"}`, `no "step"`},
		{"two objects", `{"event":"a","step":1}{}`, "more than one object"},
		{"twice", `{"event":"a","step":1,"x":1,"x":2}`, `field "x" is given twice`},
		{"bad value", `{"event":"a","step":1,"x":NaN}`, `field "x": invalid character`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.jsonl")
			write(t, path, good+good+c.line+"\n")
			_, err := ReadEvents(path)
			check(t, err, path+":3: ", c.want, "cut the file before this line")
		})
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"event":"train","step":1,"loss":3.25,"x":[1,"NaN"]}`))
	f.Add([]byte(`{"event":"a","step":1}{}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parseEvent(line)
		if err == nil && (e.Kind == "" || len(e.Names) != len(e.Fields)) {
			t.Errorf("%q read as %+v", line, e)
		}
	})
}

func BenchmarkWriteEvent(b *testing.B) {
	e, err := OpenEvents(filepath.Join(b.TempDir(), "events.jsonl"), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for step := 0; b.Loop(); step++ {
		if err := e.Write("train", step, "loss", 3.25, "lr", 3e-4, "tokens", step*32768, "grad_norm", 1.0/3); err != nil {
			b.Fatal(err)
		}
	}
}
