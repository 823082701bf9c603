package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// listen serves a tiny model on a port of its own; done ends it.
func listen(t *testing.T, o Options) (s *Server, addr string, done func()) {
	t.Helper()
	s, err := Open(tinyModel(t, chatML), o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l, time.Minute) }()
	return s, l.Addr().String(), func() {
		stop()
		if err := errors.Join(<-served, s.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestHostileConnections holds connections that never come to a request against listening servers: each is closed in
// time, and meanwhile others are answered. Those that are slow meet short limits, those that get an answer meet the
// defaults, so that a busy machine does not look like a slow client.
func TestHostileConnections(t *testing.T) {
	_, impatient, endImpatient := listen(t, Options{HeaderTimeout: 300 * time.Millisecond, BodyTimeout: 700 * time.Millisecond, MaxBodyBytes: 1 << 16})
	s, patient, endPatient := listen(t, Options{MaxBodyBytes: 1 << 16})
	url := "http://" + patient

	head := "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	var wg sync.WaitGroup
	for _, c := range []struct {
		name, first string
		again       string // sent every 50 ms until the server goes away
		want        string // the answer's status line holds it; "": no answer is wanted, the server has to give up
	}{
		{"nothing", "", "", ""},
		{"slow head", "POST /v1/completions HTTP/1.1\r\n", "X-Slow: 1\r\n", ""},
		{"slow body", head + "Content-Length: 5000\r\n\r\n{\"prompt\": \"", "a", ""},
		{"half a body", head + "Content-Length: 5000\r\n\r\n{\"prompt\"", "", ""},
		{"large head", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: " + strings.Repeat("x", 200_000) + "\r\n\r\n", "", "431"},
		{"endless body", head + "Transfer-Encoding: chunked\r\n\r\n10000\r\n{\"prompt\": \"" + strings.Repeat("a", 1<<16-12) + "\r\n", "10000\r\n" + strings.Repeat("a", 1<<16) + "\r\n", "413"},
		{"body as large as it says", head + "Content-Length: 9000000000000\r\n\r\n{\"prompt\": \"" + strings.Repeat("a", 1<<17), "", "413"},
		{"length of two kinds", head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "", "400"},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", "", "400"},
	} {
		wg.Go(func() {
			addr := patient
			if c.want == "" {
				addr = impatient
			}
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			gone := make(chan struct{})
			go func() {
				io.WriteString(conn, c.first)
				for c.again != "" {
					select {
					case <-gone:
						return
					case <-time.After(50 * time.Millisecond):
						if _, err := io.WriteString(conn, c.again); err != nil {
							return
						}
					}
				}
			}()
			defer close(gone)
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			r := bufio.NewReader(conn)
			line, err := r.ReadString('\n')
			// A client that is slow to read while it still sends may find the connection reset before the answer.
			if reset := line == "" && errors.Is(err, syscall.ECONNRESET); !reset && !strings.Contains(line, c.want) {
				t.Errorf("%s: %q, want %s", c.name, line, c.want)
			}
			if _, err := io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the connection is still held", c.name)
			}
		})
	}
	for i := range 10 { // meanwhile
		code, got := post(t, url+"/v1/completions", obj{"prompt": "Hej", "max_tokens": 3, "seed": i})
		if code != 200 {
			t.Errorf("meanwhile: %d %v", code, got)
		}
		time.Sleep(50 * time.Millisecond)
	}
	wg.Wait()

	// Prompts as long as a body may be, and clients that go away in the middle of each kind of work.
	for i := range 20 {
		ctx, leave := context.WithTimeout(t.Context(), time.Duration(i)*3*time.Millisecond)
		body := `{"prompt": "` + strings.Repeat("Uglen flyver. ", 30) + fmt.Sprintf(`", "max_tokens": 400, "ignore_eos": true, "stream": %t}`, i%2 == 0)
		if i%5 == 4 {
			body = `{"prompt": "` + strings.Repeat("a b", 1<<14) + `"}`
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			if i%5 == 4 && resp.StatusCode != http.StatusBadRequest {
				t.Errorf("a prompt longer than the context: %d", resp.StatusCode)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		leave()
	}
	until(t, "nothing is computed that nobody waits for", func() bool { running, waiting := s.work.counts(); return running+waiting == 0 })
	for _, addr := range []string{patient, impatient} {
		if code, _ := get(t, "http://"+addr+"/healthz"); code != 200 {
			t.Errorf("healthz %d", code)
		}
	}
	endPatient()
	endImpatient()
}
