package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// apiError is an error in OpenAI's form.
type apiError struct {
	status  int
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (e *apiError) Error() string { return e.Message }

// bad is a request that cannot be answered; param and code may be "".
func bad(param, code, format string, args ...any) *apiError {
	return fault(http.StatusBadRequest, "invalid_request_error", param, code, format, args...)
}

func fault(status int, kind, param, code, format string, args ...any) *apiError {
	e := &apiError{status: status, Message: fmt.Sprintf(format, args...), Type: kind}
	if param != "" {
		e.Param = &param
	}
	if code != "" {
		e.Code = &code
	}
	return e
}

// asAPI makes any error an apiError.
func asAPI(err error) *apiError {
	var e *apiError
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &big):
		return fault(http.StatusRequestEntityTooLarge, "invalid_request_error", "", "request_too_large", "The request has more than %d bytes.", big.Limit)
	case errors.Is(err, errQueueFull):
		return fault(http.StatusTooManyRequests, "rate_limit_error", "", "queue_full", "Too many requests are waiting. Try again in a few seconds.")
	case errors.Is(err, errClosing):
		return fault(http.StatusServiceUnavailable, "server_error", "", "shutting_down", "The server is shutting down.")
	}
	return fault(http.StatusInternalServerError, "server_error", "", "", "%v", err)
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, err error) {
	e := asAPI(err)
	if e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "2")
	}
	s.reply(w, e.status, map[string]*apiError{"error": e})
}

func (s *Server) reply(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error":{"message":"the answer cannot be written","type":"server_error","param":null,"code":null}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(data, '\n'))
}
