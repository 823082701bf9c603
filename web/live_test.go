package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// liveRun is a run that goes through the states of a report by hand.
type liveRun struct {
	at    atomic.Int64
	pages atomic.Int64
}

func (r *liveRun) live(t *testing.T) (*Live, *httptest.Server) {
	l := &Live{
		Dir: t.TempDir(), Every: 20 * time.Millisecond,
		Stamp: func() string { return fmt.Sprint(r.at.Load()) },
		Page: func() (*Report, error) {
			r.pages.Add(1)
			name := []string{"empty", "running", "stopped", "finished"}[r.at.Load()]
			p := states()[name]
			p.Name = "ugle-1b"
			return p, nil
		},
	}
	s := httptest.NewServer(l.Handler())
	t.Cleanup(s.Close)
	return l, s
}

func fetch(t *testing.T, url, password string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if password != "" {
		req.SetBasicAuth("anybody", password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

func TestLivePage(t *testing.T) {
	var r liveRun
	l, s := r.live(t)
	status, text, header := fetch(t, s.URL, "")
	if status != 200 || !strings.Contains(text, "not begun") || !strings.Contains(text, "EventSource") || !strings.Contains(header.Get("Content-Security-Policy"), "connect-src 'self'") {
		t.Errorf("%d %v", status, header)
	}
	// It is made again when the folder has changed, and only then.
	fetch(t, s.URL, "")
	if n := r.pages.Load(); n != 1 {
		t.Errorf("the page was made %d times", n)
	}
	resp, err := http.Get(s.URL + "/changes")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		t.Fatal("the stream has ended")
		return ""
	}
	first := next()
	r.at.Store(1)
	if next() == first {
		t.Error("a change has the same stamp")
	}
	for stale := "1"; stale != ""; { // it spends no more than a fifth of the time on making pages
		_, text, header = fetch(t, s.URL, "")
		stale = header.Get("X-Stale")
	}
	if !strings.Contains(text, "running, stage train") {
		t.Error("the page is the old one")
	}

	// Files: those that the page lists.
	l.Page = func() (*Report, error) {
		return &Report{Name: "x", Files: []File{{"events.jsonl", "events"}, {"gone.md", "gone"}}}, nil
	}
	r.at.Store(2)
	for name, text := range map[string]string{"events.jsonl": "{}\n", "secret.txt": "x"} {
		if err := os.WriteFile(filepath.Join(l.Dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for stale := "1"; stale != ""; {
		_, _, header = fetch(t, s.URL, "")
		stale = header.Get("X-Stale")
	}
	for path, want := range map[string]int{"/events.jsonl": 200, "/secret.txt": 404, "/gone.md": 404, "/..%2fx": 404} {
		if status, _, _ := fetch(t, s.URL+path, ""); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	l.Page = func() (*Report, error) { return nil, errors.New("torn <script>") }
	r.at.Store(3)
	for status = 200; status == 200; {
		status, text, _ = fetch(t, s.URL, "")
	}
	if status != 500 || !strings.Contains(text, "torn &lt;script&gt;") {
		t.Errorf("%d %s", status, text)
	}
}

func TestLiveKey(t *testing.T) {
	var r liveRun
	l, _ := r.live(t)
	l.Key = "a key"
	s := httptest.NewServer(l.Handler())
	defer s.Close()
	for password, want := range map[string]int{"": 401, "other": 401, "a key": 200} {
		if status, _, _ := fetch(t, s.URL, password); status != want {
			t.Errorf("password %q: %d, want %d", password, status, want)
		}
	}
	if status, _, _ := fetch(t, s.URL+"/healthz", ""); status != 200 {
		t.Errorf("healthz: %d", status)
	}
}

// The live page in a real browser follows the run from empty to finished, keeps what was opened, and says when the
// connection is lost.
func TestLiveInChromium(t *testing.T) {
	ctx := browser(t)
	var r liveRun
	_, s := r.live(t)
	var problems []string
	chromedp.ListenTarget(ctx, func(ev any) {
		if e, ok := ev.(*cdpruntime.EventExceptionThrown); ok {
			problems = append(problems, e.ExceptionDetails.Error())
		}
	})
	if err := chromedp.Run(ctx, theme("light"), chromedp.EmulateViewport(1360, 1500), chromedp.Navigate(s.URL), chromedp.WaitVisible("footer", chromedp.ByQuery)); err != nil {
		t.Fatal(err)
	}
	shows := func(what string) {
		t.Helper()
		err := chromedp.Run(ctx, chromedp.Poll(fmt.Sprintf(`document.getElementById('summary').innerText.includes(%q)`, what), nil, chromedp.WithPollingTimeout(20*time.Second)))
		if err != nil {
			t.Fatalf("the page does not come to show %q: %v", what, err)
		}
	}
	for i, want := range []string{"not begun", "running, stage train", "stopped by its guard", "finished"} {
		r.at.Store(int64(i))
		shows(want)
		for _, mode := range []string{"light", "dark"} {
			if err := chromedp.Run(ctx, theme(mode), screenshot(t, fmt.Sprintf("live-%d-%s", i, mode))); err != nil {
				t.Fatal(err)
			}
		}
		if i == 1 { // opened by the reader
			if err := chromedp.Run(ctx, chromedp.Evaluate(`document.querySelector('#main details:not([open])').open = true`, nil)); err != nil {
				t.Fatal(err)
			}
		}
		if i == 2 {
			var open bool
			if err := chromedp.Run(ctx, chromedp.Evaluate(`document.querySelector('#main details').open`, &open)); err != nil || !open {
				t.Errorf("what the reader has opened is closed again (%v)", err)
			}
		}
	}
	s.CloseClientConnections()
	s.Listener.Close()
	s.CloseClientConnections()
	if err := chromedp.Run(ctx, chromedp.Poll(`document.getElementById('live').innerText.includes('lost')`, nil, chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		t.Errorf("nobody says that the connection is lost: %v", err)
	}
	if len(problems) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(problems, "\n"))
	}
}
