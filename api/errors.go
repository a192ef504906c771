package api

import (
	"errors"
	"net/http"

	"usvs/ipvs"
)

// codes name the sentinels on the wire.
var codes = []struct {
	code   string
	err    error
	status int
}{
	{"exists", ipvs.ErrExists, http.StatusConflict},
	{"no_service", ipvs.ErrNotFound, http.StatusNotFound},
	{"no_entry", ipvs.ErrNoEntry, http.StatusNotFound},
	{"invalid", ipvs.ErrInvalid, http.StatusBadRequest},
	{"range", ipvs.ErrRange, http.StatusBadRequest},
	{"permission", ipvs.ErrPermission, http.StatusForbidden},
	{"family", ipvs.ErrFamily, http.StatusBadRequest},
	{"no_device", ipvs.ErrNoDevice, http.StatusNotFound},
	{"not_ready", ipvs.ErrNotReady, http.StatusNotImplemented},
}

// codeFailed is the code of every other error: its message is all there is.
const codeFailed = "failed"

// Error is an error of the server as the client has it. It wraps the sentinel
// of package ipvs that it wrapped there.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Exit is the exit status a command should end with, 0 if the error says
	// nothing about it.
	Exit int `json:"exit,omitempty"`
}

// Error is the message, as the server worded it.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the sentinel, if any.
func (e *Error) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Code {
			return c.err
		}
	}
	return nil
}

// ExitStatus is the exit status for a command.
func (e *Error) ExitStatus() int { return e.Exit }

// toError brings err into the form it travels in, with its HTTP status.
func toError(err error) (*Error, int) {
	out := &Error{Code: codeFailed, Message: err.Error()}
	var exit interface{ ExitStatus() int }
	if errors.As(err, &exit) {
		out.Exit = exit.ExitStatus()
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			out.Code = c.code
			return out, c.status
		}
	}
	return out, http.StatusUnprocessableEntity
}

// failure is the body of every answer that is not a success.
type failure struct {
	Error *Error `json:"error"`
}
