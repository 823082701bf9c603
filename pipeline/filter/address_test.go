package filter_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/corpus"
	"ravn/pipeline"
	"ravn/pipeline/filter"
)

func snapshots(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAddresses(t *testing.T) {
	dir := snapshots(t, map[string]string{
		"svindel.txt":                    "# svindel\nsvindel.dk\n0.0.0.0 www.reklame.dk\nforum.dk/heste/ # kun heste\nhttps://avis.dk/side?id=7\n",
		"signals/lukket.dk/robots.txt":   "User-agent: *\nDisallow: /admin\n\nUser-agent: GPTBot\nUser-agent: CCBot\nDisallow: /\nAllow: /aabent/\n",
		"signals/kun-bing.dk/robots.txt": "User-agent: bingbot\nDisallow: /\n",
		"signals/signal.dk/robots.txt":   "User-Agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /\n",
		"signals/ai.dk/ai.txt":           "User-Agent: *\nDisallow: *.html$\nDisallow: /digte\n",
		"signals/tdm.dk/tdmrep.json":     `[{"location":"/*","tdm-reservation":1},{"location":"/frit/*","tdm-reservation":0}]`,
		"signals/hoved.dk/headers.txt":   "Content-Type: text/html\nTDM-Reservation: 1\n",
		"signals/brug.dk/headers.txt":    "Content-Usage: train-ai=n, search=y\n",
		"signals/noai.dk/headers.txt":    "X-Robots-Tag: noindex, noai\n",
		"signals/aaben.dk/headers.txt":   "tdm-reservation: 0\n",
	})
	stage := func(mark bool) pipeline.Judge {
		s, err := filter.NewAddresses(filter.AddressOptions{Lists: []string{filepath.Join(dir, "svindel.txt")}, Signals: filepath.Join(dir, "signals"), Mark: mark})
		if err != nil {
			t.Fatal(err)
		}
		return s.(pipeline.Judge)
	}
	for _, tt := range []struct{ uri, reason, detail string }{
		{"", "", ""},
		{"Retsinformation, LOV nr 1", "", ""},
		{"https://ukendt.dk/om", "", ""},
		{"https://www.svindel.dk/vind", "blocked_address", "svindel.dk stands on the list svindel.txt"},
		{"http://a.b.svindel.dk", "blocked_address", "svindel.dk stands"},
		{"https://ikkesvindel.dk", "", ""},
		{"https://reklame.dk/x", "blocked_address", "reklame.dk stands"},
		{"https://forum.dk/heste/hest7", "blocked_address", "forum.dk/heste stands"},
		{"https://forum.dk/hestevogne", "", ""},
		{"https://avis.dk/side?id=7", "blocked_address", "avis.dk/side?id=7 stands"},
		{"https://avis.dk/side?id=8", "", ""},
		{"https://lukket.dk/nyt", "mining_reserved", "lukket.dk says disallow: / for CCBot in robots.txt"},
		{"https://bladet.lukket.dk/nyt", "mining_reserved", "lukket.dk says"},
		{"https://lukket.dk/aabent/nyt", "", ""},
		{"https://kun-bing.dk/nyt", "", ""},
		{"https://signal.dk/", "mining_reserved", "signal.dk says Content-Signal: search=yes, ai-train=no"},
		{"https://ai.dk/a/b.html", "mining_reserved", "ai.dk says disallow: *.html$ for * in ai.txt"},
		{"https://ai.dk/digte/1", "mining_reserved", "ai.dk says disallow: /digte for * in ai.txt"},
		{"https://ai.dk/a.html.txt", "", ""},
		{"https://tdm.dk/bog", "mining_reserved", "tdm.dk says tdm-reservation: 1 at /* in tdmrep.json"},
		{"https://tdm.dk/frit/bog", "", ""},
		{"https://hoved.dk/x", "mining_reserved", "hoved.dk says TDM-Reservation: 1"},
		{"https://brug.dk/x", "mining_reserved", "brug.dk says Content-Usage"},
		{"https://noai.dk/x", "mining_reserved", "noai.dk says X-Robots-Tag"},
		{"https://aaben.dk/x", "", ""},
	} {
		d := &corpus.Document{ID: "x", URI: tt.uri, Text: "Byrådet har besluttet at bygge en bro."}
		if v := stage(false).Judge(d); v.Keep != (tt.reason == "") || v.Reason != tt.reason || !strings.HasPrefix(v.Detail, tt.detail) {
			t.Errorf("%s: got %+v, want %s, %s", tt.uri, v, tt.reason, tt.detail)
		}
		if v := stage(true).Judge(d); !v.Keep || v.Reason != tt.reason {
			t.Errorf("%s, marked: got %+v", tt.uri, v)
		}
	}
}

func TestAddressesRefuse(t *testing.T) {
	dir := snapshots(t, map[string]string{
		"bad.txt": "god.dk\nikke en adresse\n", "s/x.dk/tdmrep.json": `[{"location":"/","tdm-reservation":2}]`, "u/x.dk/tdmrep.json": `{`,
	})
	for _, tt := range []struct {
		o    filter.AddressOptions
		want string
	}{
		{filter.AddressOptions{Lists: []string{filepath.Join(dir, "bad.txt")}}, `bad.txt:2: "ikke en adresse" is no host or address`},
		{filter.AddressOptions{Lists: []string{filepath.Join(dir, "borte.txt")}}, "no such file"},
		{filter.AddressOptions{Signals: filepath.Join(dir, "s")}, `location "/" has tdm-reservation 2 (0 or 1)`},
		{filter.AddressOptions{Signals: filepath.Join(dir, "u")}, "a list of objects with location"},
	} {
		if _, err := filter.NewAddresses(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
