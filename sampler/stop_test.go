package sampler

import (
	"strings"
	"testing"
)

func TestStops(t *testing.T) {
	for _, c := range []struct {
		stops  []string
		pieces string // separated by |
		want   string // what each Next gives, and Flush, separated by |
		done   bool
	}{
		{nil, "Hej| du", "Hej| du|", false},
		{[]string{"\n\n"}, "Aarhus\n|\nTekst", "Aarhus|", true},
		{[]string{"\n\n"}, "a\n|b|\n", "a|\nb||\n", false},
		{[]string{"slut", "lu"}, "x s|l|ut", "x ||", true},
		{[]string{"aab"}, "a|a|a|b", "||a|", true},
		{[]string{""}, "a", "a|", false},
		{[]string{"Ø"}, "ræv|Ø", "ræv|", true},
	} {
		s := Stops{Strings: c.stops}
		var got []string
		done := false
		for _, p := range strings.Split(c.pieces, "|") {
			var text string
			text, done = s.Next(p)
			got = append(got, text)
			if done {
				break
			}
		}
		if !done {
			got = append(got, s.Flush())
		}
		if g := strings.Join(got, "|"); g != c.want || done != c.done {
			t.Errorf("%q of %q: got %q, %v, want %q, %v", c.stops, c.pieces, g, done, c.want, c.done)
		}
	}
}
