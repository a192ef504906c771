package dialog

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Limits of a page, in bytes. keepalived has the first: its buffer of 4096 is
// never full.
const (
	headerLimit = 4095
	bodyLimit   = 16 << 20
	regexLimit  = 1 << 20 // of what a regular expression sees
)

var (
	errHeader = fmt.Errorf("the header is longer than %d bytes", headerLimit)
	errBody   = fmt.Errorf("the page is longer than %d bytes", bodyLimit)
	errNoPage = errors.New("the connection ended within the header")
	errStatus = errors.New("there is no HTTP status line")
)

// page is an HTTP response as keepalived reads it: up to the end of the
// connection, the header first. Nothing is decoded, not even chunks. The body is
// what follows the empty line; the digest, as genhash's, is of as much of it as
// Content-Length says.
type page struct {
	header []byte // until it is complete
	done   bool   // the header
	status int
	read   int64 // bytes of the body

	sum     hash.Hash // nil if no digest is wanted
	left    int64     // bytes of the body that it is still to have
	pattern *regexp.Regexp
	text    []byte // what the pattern sees
}

func newPage(digest bool) page {
	if !digest {
		return page{}
	}
	return page{sum: md5.New()}
}

// nothing reports whether not a byte has come.
func (g *page) nothing() bool { return !g.done && len(g.header) == 0 }

// take takes the next bytes of a response.
func (g *page) take(b []byte) error {
	if g.done {
		return g.body(b)
	}
	before := len(g.header)
	g.header = append(g.header, b[:min(len(b), headerLimit-before)]...)
	end := bytes.Index(g.header, []byte("\r\n\r\n"))
	switch {
	case end < 0 && len(g.header) == headerLimit:
		return errHeader
	case end < 0:
		return nil
	}
	head := string(g.header[:end+2])
	g.done, g.header = true, nil
	g.left = contentLength(head)
	var err error
	if g.status, err = parseStatus(head); err != nil {
		return err
	}
	return g.body(b[end+4-before:])
}

// body takes bytes after the header.
func (g *page) body(b []byte) error {
	g.read += int64(len(b))
	if g.read > bodyLimit {
		return errBody
	}
	if g.pattern != nil {
		g.text = append(g.text, b[:min(len(b), regexLimit-len(g.text))]...)
	}
	if g.sum != nil {
		n := min(int64(len(b)), g.left)
		g.sum.Write(b[:n])
		g.left -= n
	}
	return nil
}

// contentLength reads a header as keepalived and genhash do: the first place
// that says so, in these letters, with nothing behind the number. Otherwise the
// body is all there is.
func contentLength(header string) int64 {
	_, rest, _ := strings.Cut(header, "Content-Length:")
	value, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.ParseUint(strings.TrimLeft(value, " \t"), 10, 63)
	if err != nil {
		return bodyLimit
	}
	return int64(n)
}

// parseStatus reads a status line, RFC 9112 section 4.
func parseStatus(header string) (int, error) {
	line, _, _ := strings.Cut(header, "\r\n")
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || !strings.HasPrefix(version, "HTTP/") {
		return 0, errStatus
	}
	return int(n), nil
}

func withoutZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}
