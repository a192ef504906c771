package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
)

// serveProc routes the call that reads a file of /proc/net.
func serveProc(mux *http.ServeMux, write func(w io.Writer, name string) error) {
	mux.Handle("GET /v1/proc", streamed(func(r *http.Request, w io.Writer) error {
		if write == nil {
			return unavailable("files of /proc/net")
		}
		buf := bufio.NewWriterSize(chunks{emitter{w}}, streamBuffer)
		if err := write(buf, r.URL.Query().Get("file")); err != nil {
			return err
		}
		return buf.Flush()
	}))
}

// chunks emits what is written as strings.
type chunks struct{ emitter }

func (c chunks) Write(p []byte) (int, error) {
	if err := c.emit(string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteProc writes what a file of /proc/net contains, such as ip_vs_stats. Of
// a name that there is not, the error is ipvs.ErrNoEntry.
func (c *Client) WriteProc(w io.Writer, name string) error {
	return c.stream(context.Background(), "proc?file="+url.QueryEscape(name), func(value json.RawMessage) error {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return err
		}
		_, err := io.WriteString(w, text)
		return err
	})
}
