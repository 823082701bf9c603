package sampler

import "strings"

// Stops watches text that comes in pieces for strings at which it is to end. What may be the beginning of one is held
// back until it is known.
type Stops struct {
	Strings []string
	held    string
}

// Next takes the next piece and returns what is certain to be part of the text; done when a stop string was met, which
// is no part of it.
func (s *Stops) Next(piece string) (text string, done bool) {
	s.held += piece
	at := -1
	for _, x := range s.Strings {
		if i := strings.Index(s.held, x); x != "" && i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at >= 0 {
		text, s.held = s.held[:at], ""
		return text, true
	}
	keep := 0
	for _, x := range s.Strings {
		for n := min(len(x)-1, len(s.held)); n > keep; n-- {
			if strings.HasSuffix(s.held, x[:n]) {
				keep = n
			}
		}
	}
	text, s.held = s.held[:len(s.held)-keep], s.held[len(s.held)-keep:]
	return text, false
}

// Flush returns what was held back, when no more comes.
func (s *Stops) Flush() string {
	text := s.held
	s.held = ""
	return text
}
