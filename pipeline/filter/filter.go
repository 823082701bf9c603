// Package filter drops documents by length: empty ones, too short ones, too long ones.
package filter

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"ravn/corpus"
	"ravn/pipeline"
)

// Reasons of verdicts.
const (
	Empty    = "empty"     // nothing but white space
	TooShort = "too_short" // fewer characters or words than wanted
	TooLong  = "too_long"  // more characters, words or bytes than wanted
)

// Options are limits; 0 means none. Empty documents are always dropped.
type Options struct {
	MinChars int   // characters, white space at the ends not counted
	MaxChars int   //
	MinWords int   // words between white space
	MaxWords int   //
	MaxBytes int64 // bytes of UTF-8, all of them
}

// Validate checks the options.
func (o Options) Validate() error {
	var errs []error
	for _, l := range []struct {
		name     string
		min, max int64
	}{{"Chars", int64(o.MinChars), int64(o.MaxChars)}, {"Words", int64(o.MinWords), int64(o.MaxWords)}, {"Bytes", 0, o.MaxBytes}} {
		if l.min < 0 || l.max < 0 {
			errs = append(errs, fmt.Errorf("filter: Min%s %d, Max%s %d: limits are not negative (0 is none)", l.name, l.min, l.name, l.max))
		} else if l.max > 0 && l.min > l.max {
			errs = append(errs, fmt.Errorf("filter: Min%s %d is above Max%s %d (every document would be dropped)", l.name, l.min, l.name, l.max))
		}
	}
	return errors.Join(errs...)
}

// New returns the stage. Options that Validate refuses drop accordingly; check them where they are read.
func New(o Options) pipeline.Stage { return &filter{o} }

type filter struct{ o Options }

func (f *filter) Name() string { return "filter" }

// Judge names the first limit that the document breaks.
func (f *filter) Judge(d *corpus.Document) pipeline.Verdict {
	text := strings.TrimSpace(d.Text)
	if text == "" {
		return pipeline.Drop(Empty, fmt.Sprintf("no text, %d bytes of white space", len(d.Text)))
	}
	if n := int64(len(d.Text)); f.o.MaxBytes > 0 && n > f.o.MaxBytes {
		return pipeline.Drop(TooLong, fmt.Sprintf("%d bytes, at most %d wanted", n, f.o.MaxBytes))
	}
	if f.o.MinChars > 0 || f.o.MaxChars > 0 {
		if v := limit(utf8.RuneCountInString(text), f.o.MinChars, f.o.MaxChars, "characters"); !v.Keep {
			return v
		}
	}
	if f.o.MinWords > 0 || f.o.MaxWords > 0 {
		return limit(pipeline.Words(text), f.o.MinWords, f.o.MaxWords, "words")
	}
	return pipeline.Keep
}

func limit(n, low, high int, unit string) pipeline.Verdict {
	switch {
	case n < low:
		return pipeline.Drop(TooShort, fmt.Sprintf("%d %s, at least %d wanted", n, unit, low))
	case high > 0 && n > high:
		return pipeline.Drop(TooLong, fmt.Sprintf("%d %s, at most %d wanted", n, unit, high))
	}
	return pipeline.Keep
}
