package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"

	"golang.org/x/net/dns/dnsmessage"

	"usvs/health"
)

// dnsTypes are those that DNS_CHECK may ask for.
var dnsTypes = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "NS": dnsmessage.TypeNS, "CNAME": dnsmessage.TypeCNAME, "SOA": dnsmessage.TypeSOA,
	"MX": dnsmessage.TypeMX, "TXT": dnsmessage.TypeTXT, "AAAA": dnsmessage.TypeAAAA,
	"RRSIG": 46, "DNSKEY": 48,
}

// strayDatagrams is how many datagrams that are no answers are passed over.
const strayDatagrams = 16

var errStrays = errors.New("only datagrams that are no answers")

// resolves is DNS_CHECK: a question by UDP gets an answer without an error.
// What the answer is does not matter.
func resolves(ctx context.Context, dial Dial, p *health.Probe) health.Result {
	id := uint16(rand.Uint32())
	query, err := question(id, p.DNS)
	if err != nil {
		return localError(err)
	}
	c, err := dial.open(ctx, "udp", p)
	if err != nil {
		return notConnected(err, "connection timeout.", "connection failed.")
	}
	defer c.Close()
	if _, err := c.Write(query); err != nil {
		return failure(broken("write", err), nil)
	}
	buf := make([]byte, 4096)
	c.end = c.deadline() // for all datagrams together
	for range strayDatagrams {
		n, err := c.Read(buf)
		switch {
		case isTimeout(err):
			return failure("read timeout from socket", nil)
		case err != nil:
			return failure(broken("read", err), nil)
		}
		if code, ok := responseCode(buf[:n], id); ok {
			return resolved(code)
		}
	}
	return failure("read error occurred.", errStrays)
}

// broken is an error of the socket in keepalived's words.
func broken(verb string, err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return fmt.Sprintf("failed to %s socket; %s", verb, cause(err))
	}
	words := errno.Error()
	return fmt.Sprintf("failed to %s socket; errno %d (%s)", verb, int(errno), strings.ToUpper(words[:1])+words[1:])
}

func resolved(code dnsmessage.RCode) health.Result {
	if code == dnsmessage.RCodeSuccess {
		return success
	}
	return failure(fmt.Sprintf("read error occurred. (rcode = %d)", code), nil)
}

// question is a query as a message. Without a name it is about the root.
func question(id uint16, q *health.DNSQuestion) ([]byte, error) {
	if q == nil {
		q = &health.DNSQuestion{}
	}
	kind := q.Type
	if kind == "" {
		kind = "SOA"
	}
	t, ok := dnsTypes[strings.ToUpper(kind)]
	if !ok {
		return nil, fmt.Errorf("unknown DNS type %s", kind)
	}
	name, err := dnsmessage.NewName(strings.TrimSuffix(q.Name, ".") + ".")
	if err != nil {
		return nil, fmt.Errorf("DNS name %q: %w", q.Name, err)
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: t, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// responseCode reads the header of an answer to the question with an id.
func responseCode(datagram []byte, id uint16) (dnsmessage.RCode, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(datagram)
	if err != nil || h.ID != id || !h.Response {
		return 0, false
	}
	return h.RCode, true
}
