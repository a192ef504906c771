package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"usvs/ipvs"
)

const (
	streamBuffer = 32 << 10         // bytes of a fast stream sent at once
	stallTimeout = 30 * time.Second // how long a client may leave a stream unread
)

// A streamLine is one line of a stream: a value, or how it all ended.
type streamLine struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error *Error          `json:"error,omitempty"`
	End   bool            `json:"end,omitempty"`
}

// emitter writes the lines of a stream.
type emitter struct{ w io.Writer }

func (e emitter) emit(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return e.line(streamLine{Value: text})
}

func (e emitter) end(err error) {
	if err == nil {
		e.line(streamLine{End: true})
		return
	}
	cause, _ := toError(err)
	e.line(streamLine{Error: cause})
}

func (e emitter) line(l streamLine) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = e.w.Write(append(text, '\n'))
	return err
}

// eager sends every write at once, and gives up on a client that does not
// read. It needs no clock: a timer puts the deadline into the past.
type eager struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	stall *time.Timer
}

func newEager(w http.ResponseWriter) *eager {
	e := &eager{w: w, rc: http.NewResponseController(w)}
	e.rc.SetReadDeadline(time.Time{}) // a stream lasts as long as it lasts
	e.rc.SetWriteDeadline(time.Time{})
	e.stall = time.AfterFunc(stallTimeout, func() { e.rc.SetWriteDeadline(time.Unix(1, 0)) })
	e.stall.Stop()
	return e
}

func (e *eager) Write(p []byte) (int, error) {
	e.stall.Reset(stallTimeout)
	defer e.stall.Stop()
	n, err := e.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, e.rc.Flush()
}

// streamed makes a handler of a function that emits values.
func streamed(f func(r *http.Request, w io.Writer) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/jsonl")
		out := newEager(w)
		emitter{out}.end(f(r, out))
	})
}

// trace streams events as they come, up to the request's max; 0 is no limit.
func trace(r *http.Request, f func(context.Context, int, func(any) error) error, w io.Writer) error {
	if f == nil {
		return unavailable("trace")
	}
	max := 0
	if text := r.URL.Query().Get("max"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return fmt.Errorf("max %q: %w", text, ipvs.ErrInvalid)
		}
		max = n
	}
	return f(r.Context(), max, emitter{w}.emit)
}

// readStream calls yield with each value until it returns an error or the
// stream ends. A stream without an end mark is an error.
func readStream(r io.Reader, yield func(json.RawMessage) error) error {
	in := json.NewDecoder(bufio.NewReaderSize(r, streamBuffer))
	for {
		var l streamLine
		err := in.Decode(&l)
		switch {
		case err != nil:
			return cutShort(err)
		case l.Error != nil:
			return l.Error
		case l.End:
			return nil
		}
		if err := yield(l.Value); err != nil {
			return err
		}
	}
}

func cutShort(err error) error { return fmt.Errorf("answer was cut short: %w", err) }
