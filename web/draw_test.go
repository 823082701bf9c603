package web

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestTextDrawsEveryPointAtItsPlace(t *testing.T) {
	c := Chart{Title: "rate", Unit: "1", Steps: 4, Series: []Series{{Name: "a", Points: []Point{{0, 0}, {2, 1}, {4, 0}}}}}
	got := c.Text(5, 3)
	want := "rate (1)\n" +
		"         1 │  *\n" +
		"       0.5 │\n" +
		"         0 │*   *\n" +
		"           └─────\n" +
		"            0   4 steps\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := (Chart{Title: "rate"}).Text(5, 3); got != "rate: nothing to draw\n" {
		t.Errorf("without points: %q", got)
	}
}

func TestChartFileIsXML(t *testing.T) {
	c := Chart{Title: `a "<b>" & c`, Unit: "1", Series: []Series{{Name: "x", Points: []Point{{1, 2}, {2, 3}}}, {Name: "y", Points: []Point{{1, 3}}}}}
	svg := string(c.File())
	if !strings.HasPrefix(svg, `<svg xmlns="http://www.w3.org/2000/svg"`) || !strings.Contains(svg, "<style>") {
		t.Errorf("not a file of its own: %.120s", svg)
	}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
