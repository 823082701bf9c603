package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Live serves the page of a run while the run goes on: the page is made again from the folder when something in it has
// changed, and a browser that shows it is told so.
//
//	GET /          the page
//	GET /changes   server-sent events: a stamp each time that the folder has changed
//	GET /PATH      a file that the page lists
type Live struct {
	Dir   string
	Page  func() (*Report, error) // reads the folder; never called twice at a time
	Stamp func() string           // changes when the page would; cheap
	Key   string                  // password that browsers have to give; "": none
	Every time.Duration           // between two looks at the folder; 1 s

	mu       sync.Mutex
	stamp    string
	html     []byte
	files    map[string]bool
	made     time.Time
	took     time.Duration
	watchers int
}

const maxWatchers = 64

// Handler is the HTTP interface.
func (l *Live) Handler() http.Handler {
	if l.Every == 0 {
		l.Every = time.Second
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", l.page)
	mux.HandleFunc("GET /changes", l.changes)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /{path...}", l.file)
	want := sha256.Sum256([]byte(l.Key))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		if l.Key != "" && r.URL.Path != "/healthz" {
			_, password, _ := r.BasicAuth()
			if got := sha256.Sum256([]byte(password)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				h.Set("WWW-Authenticate", `Basic realm="ravn"`)
				http.Error(w, "The key is missing or wrong: any name, and the key as password.", http.StatusUnauthorized)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// current makes the page again where the folder has changed, but spends no more than a fifth of the time on it.
func (l *Live) current() (text []byte, stale bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stamp := l.Stamp()
	if l.html != nil && (stamp == l.stamp || time.Since(l.made) < 4*l.took) {
		return l.html, stamp != l.stamp, nil
	}
	start := time.Now()
	r, err := l.Page()
	if err != nil {
		return nil, false, err
	}
	r.Live = true
	if text, err = r.HTML(); err != nil {
		return nil, false, err
	}
	l.files = map[string]bool{}
	for _, f := range r.Files {
		l.files[f.Path] = true
	}
	l.stamp, l.html, l.made, l.took = stamp, text, time.Now(), time.Since(start)
	return text, false, nil
}

func (l *Live) page(w http.ResponseWriter, _ *http.Request) {
	text, stale, err := l.current()
	if stale {
		w.Header().Set("X-Stale", "1") // ask again
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "<!doctype html><title>ravn</title><p>The run folder cannot be shown: %s", html.EscapeString(err.Error()))
		return
	}
	w.Write(text)
}

// file gives what the page lists and nothing else of the folder.
func (l *Live) file(w http.ResponseWriter, r *http.Request) {
	path := r.PathValue("path")
	l.mu.Lock()
	listed := l.files[path]
	l.mu.Unlock()
	if !listed {
		http.Error(w, "The page of this run lists no such file.", http.StatusNotFound)
		return
	}
	root, err := os.OpenRoot(l.Dir)
	if err == nil {
		defer root.Close()
		var f *os.File
		if f, err = root.Open(filepath.FromSlash(path)); err == nil {
			defer f.Close()
			if filepath.Ext(path) != ".parquet" {
				w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			} else {
				w.Header().Set("Content-Type", "application/octet-stream")
			}
			http.ServeContent(w, r, "", time.Time{}, f)
			return
		}
	}
	http.Error(w, "The file is not there any more.", http.StatusNotFound)
}

// changes tells one browser of every change, until it goes away.
func (l *Live) changes(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	full := l.watchers >= maxWatchers
	if !full {
		l.watchers++
	}
	l.mu.Unlock()
	if full {
		http.Error(w, "Too many pages are open.", http.StatusServiceUnavailable)
		return
	}
	defer func() {
		l.mu.Lock()
		l.watchers--
		l.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	c := http.NewResponseController(w)
	send := func(format string, args ...any) error {
		c.SetWriteDeadline(time.Now().Add(10 * time.Second)) // not every writer has one
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return c.Flush()
	}
	tick := time.NewTicker(l.Every)
	defer tick.Stop()
	said, quiet := "", time.Now()
	for {
		var err error
		if stamp := l.Stamp(); stamp != said {
			said, quiet = stamp, time.Now()
			sum := sha256.Sum256([]byte(stamp))
			err = send("data: %x\n\n", sum[:8])
		} else if time.Since(quiet) > 15*time.Second {
			quiet = time.Now()
			err = send(": still here\n\n")
		}
		if err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}
