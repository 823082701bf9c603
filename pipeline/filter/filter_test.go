package filter_test

import (
	"strings"
	"testing"

	"ravn/corpus"
	"ravn/pipeline"
	"ravn/pipeline/filter"
)

func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		o          filter.Options
		reason     string
		detail     string
	}{
		{"empty", "", filter.Options{}, "empty", "no text, 0 bytes of white space"},
		{"white space", " \n\u00a0", filter.Options{MinChars: 3}, "empty", "no text, 4 bytes of white space"},
		{"short is fine without limits", "Ja.", filter.Options{}, "", ""},
		{"characters, not bytes", "Rød grød på ø", filter.Options{MinChars: 13}, "", ""},
		{"one character short", "Rød grød på ø", filter.Options{MinChars: 14}, "too_short", "13 characters, at least 14 wanted"},
		{"white space at the ends is no character", "\n\n  Hej du  \n", filter.Options{MinChars: 7}, "too_short", "6 characters, at least 7 wanted"},
		{"words", "Solen skinner i dag", filter.Options{MinWords: 5}, "too_short", "4 words, at least 5 wanted"},
		{"words at the limit", "Solen skinner i dag", filter.Options{MinWords: 4, MaxWords: 4}, "", ""},
		{"too many words", "Solen skinner i dag", filter.Options{MaxWords: 3}, "too_long", "4 words, at most 3 wanted"},
		{"too many characters", "Solen", filter.Options{MaxChars: 4}, "too_long", "5 characters, at most 4 wanted"},
		{"bytes", "ærø", filter.Options{MaxBytes: 4}, "too_long", "5 bytes, at most 4 wanted"},
		{"bytes at the limit", "ærø", filter.Options{MaxBytes: 5}, "", ""},
		{"the first limit that is broken", "ærø", filter.Options{MaxBytes: 4, MinChars: 20}, "too_long", "5 bytes, at most 4 wanted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.o.Validate(); err != nil {
				t.Fatal(err)
			}
			s := filter.New(tt.o)
			d := &corpus.Document{ID: "x", Text: tt.text}
			got := s.(pipeline.Judge).Judge(d)
			if want := (pipeline.Verdict{Keep: tt.reason == "", Reason: tt.reason, Detail: tt.detail}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		o    filter.Options
		want string
	}{
		{filter.Options{MinChars: -1}, "MinChars -1, MaxChars 0: limits are not negative"},
		{filter.Options{MinWords: 9, MaxWords: 3}, "MinWords 9 is above MaxWords 3 (every document would be dropped)"},
		{filter.Options{MaxBytes: -5}, "MaxBytes -5: limits are not negative"},
	} {
		if err := tt.o.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
