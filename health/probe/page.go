package probe

import (
	"bytes"
	"crypto/md5"
	"errors"
	"hash"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// page reads an HTTP response as keepalived does: up to the end of the
// connection, the header first. Nothing is decoded; what counts as the body is
// what follows the empty line, as far as Content-Length goes.
type page struct {
	pattern *regexp.Regexp // if the text is wanted

	header []byte // until it is complete
	done   bool   // the header
	status int
	length int64 // Content-Length, or -1
	read   int64 // bytes after the header, wanted or not

	sum  hash.Hash
	text []byte
}

// readAll reads a response to its end.
func (g *page) readAll(r io.Reader) error {
	buf := make([]byte, headerLimit)
	for {
		n, err := r.Read(buf)
		if takeErr := g.take(buf[:n]); takeErr != nil {
			return takeErr
		}
		switch {
		case err == io.EOF && !g.done:
			return errNoPage
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// take takes the next bytes of a response.
func (g *page) take(b []byte) error {
	if g.done {
		return g.body(b)
	}
	before := len(g.header)
	g.header = append(g.header, b...)
	end := bytes.Index(g.header, []byte("\r\n\r\n"))
	switch {
	case end < 0 && len(g.header) >= headerLimit, end > headerLimit-4:
		return errHeader
	case end < 0:
		return nil
	}
	g.done = true
	rest := b[end+4-before:]
	var err error
	g.status, g.length, err = parseHeader(string(g.header[:end]))
	g.header = nil
	if err != nil {
		return err
	}
	return g.body(rest)
}

// nothing reports whether not a byte has come.
func (g *page) nothing() bool { return !g.done && len(g.header) == 0 }

// body takes bytes after the header.
func (g *page) body(b []byte) error {
	wanted := b
	if g.length >= 0 {
		wanted = b[:min(int64(len(b)), max(0, g.length-g.read))]
	}
	g.read += int64(len(b))
	if g.read > bodyLimit {
		return errBody
	}
	if g.sum == nil {
		g.sum = md5.New()
	}
	g.sum.Write(wanted)
	if g.pattern != nil {
		g.text = append(g.text, wanted[:min(len(wanted), regexLimit-len(g.text))]...)
	}
	return nil
}

// parseHeader finds status and length in a header, which ends before its
// empty line. The length is -1 if there is none.
func parseHeader(header string) (status int, length int64, err error) {
	first, rest, _ := strings.Cut(header, "\r\n")
	if status, err = parseStatus(first); err != nil {
		return 0, -1, err
	}
	length = -1
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil || n < 0 {
			return status, -1, nil // as if there were none
		}
		length = n
	}
	return status, length, nil
}

// parseStatus reads a status line, RFC 9112 section 4.
func parseStatus(line string) (int, error) {
	version, rest, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(version, "HTTP/") {
		return 0, errStatus
	}
	code, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 {
		return 0, errors.Join(errStatus, err)
	}
	return int(n), nil
}
