package dialog

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

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

var (
	errStrays = errors.New("only datagrams that are no answers")
	dnsWords  = wording{
		Connecting: {"connection timeout.", "connection failed."},
		Writing:    {"write timeout to socket", "failed to write socket; "},
		Reading:    {"read timeout from socket", "failed to read socket; "},
	}
)

// query is DNS_CHECK: a question by UDP gets an answer without an error. What
// the answer is does not matter.
type query struct {
	*wording
	id       uint16
	question []byte
	strays   int
}

func newQuery(q *health.DNSQuestion, id uint16) (Dialog, error) {
	b, err := question(id, q)
	if err != nil {
		return nil, err
	}
	return &query{wording: &dnsWords, id: id, question: b}, nil
}

// question is a query as a message. Without a name it is about the root.
func question(id uint16, q *health.DNSQuestion) ([]byte, error) {
	if q == nil {
		q = &health.DNSQuestion{}
	}
	kind := strings.ToUpper(cmp.Or(q.Type, "SOA"))
	t, ok := dnsTypes[kind]
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

func (q *query) Begin() Move { return Move{Say: q.question} }

// Take judges a datagram, if it is an answer to the question.
func (q *query) Take(b []byte) Move {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	switch {
	case err == nil && h.ID == q.id && h.Response && h.RCode == dnsmessage.RCodeSuccess:
		return over(success)
	case err == nil && h.ID == q.id && h.Response:
		return over(failure(fmt.Sprintf("read error occurred. (rcode = %d)", h.RCode), nil))
	}
	if q.strays++; q.strays == strayDatagrams {
		return over(failure("read error occurred.", errStrays))
	}
	return Move{}
}

// Fail tells the error in keepalived's sentence.
func (q *query) Fail(at Stage, err error) health.Result {
	if err == nil || at < Writing {
		return q.wording.Fail(at, err)
	}
	return failure(q.wording[at].failed+err.Error(), nil)
}
