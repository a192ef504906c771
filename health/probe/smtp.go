package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"usvs/health"
)

// Limits of an SMTP server's answer: RFC 5321 section 4.5.3.1.5 has 512 bytes
// a line.
const (
	smtpLine  = 512
	smtpLines = 64
)

// defaultHelo is whom keepalived says it is.
const defaultHelo = "smtpchecker.keepalived.org"

var errSMTPLong = errors.New("the answer is too long")

// greets is SMTP_CHECK: a greeting, HELO, QUIT.
func greets(ctx context.Context, dial Dial, p *health.Probe) health.Result {
	c, err := dial.open(ctx, "tcp", p)
	if err != nil {
		return notConnected(err, "Connection timeout to server", "Could not connect to server")
	}
	defer c.Close()
	helo := p.Helo
	if helo == "" {
		helo = defaultHelo
	}
	return converse(c, helo)
}

// converse is the dialogue of SMTP_CHECK.
func converse(c io.ReadWriter, helo string) health.Result {
	r := bufio.NewReaderSize(c, smtpLine)
	if bad := expect(r, "220", "Bad greeting banner from server"); bad != nil {
		return *bad
	}
	if bad := say(c, "HELO "+helo); bad != nil {
		return *bad
	}
	if bad := expect(r, "250", "Bad HELO response from server"); bad != nil {
		return *bad
	}
	if bad := say(c, "QUIT"); bad != nil {
		return *bad
	}
	if bad := expect(r, "", ""); bad != nil {
		return *bad
	}
	return success
}

func say(w io.Writer, line string) *health.Result {
	_, err := io.WriteString(w, line+"\r\n")
	if err == nil {
		return nil
	}
	r := failure("Error connecting to server", err)
	if isTimeout(err) {
		r = failure("Write timeout to server", nil)
	}
	return &r
}

// expect reads an answer, which may have several lines.
func expect(r *bufio.Reader, code, complaint string) *health.Result {
	line, err := answer(r)
	var bad health.Result
	switch {
	case isTimeout(err):
		bad = failure("Read timeout from server", nil)
	case err != nil:
		bad = failure("Read failure from server", err)
	case !strings.HasPrefix(line, code):
		bad = failure(complaint, fmt.Errorf("it says %q", line))
	default:
		return nil
	}
	return &bad
}

// answer returns the last line of an answer: the one without a - after its
// code, RFC 5321 section 4.2.1.
func answer(r *bufio.Reader) (string, error) {
	for range smtpLines {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return "", errSMTPLong
		}
		if err != nil {
			return "", err
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
	}
	return "", errSMTPLong
}
