package api

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// Rules come by the hundred thousand, and encoding/json takes longer for them
// than everything else. Batches are therefore written by hand, as encoding/json
// writes a batchRequest, and read by hand as far as they are written just so.

// appendBatch appends the body of a request for the first of changes, at least
// one, that fit into size bytes, and says for how many.
func appendBatch(b []byte, changes []ipvsadm.Change, size int) (body []byte, n int) {
	b = append(b, `{"changes":[`...)
	for n < len(changes) {
		more := b
		if n > 0 {
			more = append(more, ',')
		}
		more = appendChange(more, &changes[n])
		if n > 0 && len(more)+len("]}") > size {
			break
		}
		b = more
		n++
	}
	return append(b, "]}"...), n
}

func appendChange(b []byte, c *ipvsadm.Change) []byte {
	b = appendInt(b, `{"action":`, c.Action)
	b = appendService(append(b, `,"service":`...), &c.Service)
	switch c.Action {
	case ipvsadm.AddService, ipvsadm.EditService:
		b = appendServiceSpec(append(b, `,"spec":`...), &c.Spec)
	case ipvsadm.AddServer, ipvsadm.EditServer:
		b = appendServer(append(b, `,"server":`...), &c.Server)
		b = appendServerSpec(append(b, `,"server_spec":`...), &c.ServerSpec)
	case ipvsadm.DeleteServer:
		b = appendServer(append(b, `,"server":`...), &c.Server)
	}
	return append(b, '}')
}

func appendService(b []byte, id *ipvs.ServiceID) []byte {
	b = appendInt(b, `{"family":`, id.Family)
	b = appendNonzero(b, `,"protocol":`, id.Protocol)
	if id.Addr.IsValid() {
		b = appendString(b, `,"address":`, id.Addr.String())
	}
	b = appendNonzero(b, `,"port":`, id.Port)
	b = appendNonzero(b, `,"fwmark":`, id.Mark)
	return append(b, '}')
}

func appendServiceSpec(b []byte, s *ipvs.ServiceSpec) []byte {
	b = appendString(b, `{"scheduler":`, s.Scheduler)
	b = appendInt(b, `,"flags":`, s.Flags)
	b = appendNonzero(b, `,"timeout":`, s.Timeout)
	if s.Netmask.IsValid() {
		b = appendString(b, `,"netmask":`, s.Netmask.String())
	}
	b = appendNonzero(b, `,"prefix_len":`, s.PrefixLen)
	if s.PE != "" {
		b = appendString(b, `,"pe":`, s.PE)
	}
	return append(b, '}')
}

func appendServer(b []byte, id *ipvs.ServerID) []byte {
	addr := ""
	if id.Addr.IsValid() {
		addr = id.Addr.String()
	}
	b = appendString(b, `{"address":`, addr)
	return append(appendInt(b, `,"port":`, id.Port), '}')
}

func appendServerSpec(b []byte, s *ipvs.ServerSpec) []byte {
	b = appendInt(b, `{"method":`, s.Method)
	b = appendInt(b, `,"weight":`, s.Weight)
	b = appendNonzero(b, `,"upper_threshold":`, s.UpperThreshold)
	b = appendNonzero(b, `,"lower_threshold":`, s.LowerThreshold)
	if t := &s.Tunnel; *t != (ipvs.TunnelParams{}) {
		b = appendInt(b, `,"tunnel":{"type":`, t.Type)
		b = appendNonzero(b, `,"port":`, t.Port)
		b = append(appendNonzero(b, `,"flags":`, t.Flags), '}')
	}
	return append(b, '}')
}

type integer interface {
	~uint8 | ~uint16 | ~uint32 | ~int32
}

func appendInt[T integer](b []byte, name string, n T) []byte {
	return strconv.AppendInt(append(b, name...), int64(n), 10)
}

// appendNonzero is appendInt for a field that is left out if it is 0.
func appendNonzero[T integer](b []byte, name string, n T) []byte {
	if n == 0 {
		return b
	}
	return appendInt(b, name, n)
}

func appendString(b []byte, name, s string) []byte {
	b = append(b, name...)
	if !plain(s) {
		text, _ := json.Marshal(s) // strings never fail
		return append(b, text...)
	}
	return append(append(append(b, '"'), s...), '"')
}

// plain reports whether s stands for itself within quotes.
func plain[S string | []byte](s S) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// parseBatch reads what appendBatch writes. Anything else is not ok, even if it
// means the same.
func parseBatch(body []byte) (changes []ipvsadm.Change, ok bool) {
	t := &quickText{rest: bytes.TrimRight(body, "\n")}
	t.need(`{"changes":[`)
	for first := true; !t.bad && !t.has(`]}`); first = false {
		if !first {
			t.need(`,`)
		}
		changes = append(changes, t.change())
	}
	return changes, !t.bad && len(t.rest) == 0
}

// quickText is what is left of a text that is read by hand. What is read when it
// is bad means nothing.
type quickText struct {
	rest []byte
	bad  bool
}

// has skips text if it is what follows.
func (t *quickText) has(text string) bool {
	if len(t.rest) < len(text) || string(t.rest[:len(text)]) != text {
		return false
	}
	t.rest = t.rest[len(text):]
	return true
}

func (t *quickText) need(text string) {
	if !t.has(text) {
		t.bad = true
	}
}

func (t *quickText) change() (c ipvsadm.Change) {
	c.Action = parseField[ipvsadm.Action](t, `{"action":`, maxUint8)
	t.need(`,"service":`)
	t.service(&c.Service)
	if t.has(`,"spec":`) {
		t.serviceSpec(&c.Spec)
	}
	if t.has(`,"server":`) {
		c.Server.Addr = t.addr(`{"address":`)
		c.Server.Port = parseField[uint16](t, `,"port":`, maxUint16)
		t.need(`}`)
	}
	if t.has(`,"server_spec":`) {
		t.serverSpec(&c.ServerSpec)
	}
	t.need(`}`)
	return c
}

func (t *quickText) service(id *ipvs.ServiceID) {
	id.Family = parseField[ipvs.Family](t, `{"family":`, maxUint8)
	parseNonzero(t, &id.Protocol, `,"protocol":`, maxUint8)
	if t.has(`,"address":`) {
		id.Addr = t.addr(``)
	}
	parseNonzero(t, &id.Port, `,"port":`, maxUint16)
	parseNonzero(t, &id.Mark, `,"fwmark":`, maxUint32)
	t.need(`}`)
}

func (t *quickText) serviceSpec(s *ipvs.ServiceSpec) {
	s.Scheduler = string(t.quoted(`{"scheduler":`))
	s.Flags = parseField[ipvs.ServiceFlags](t, `,"flags":`, maxUint32)
	parseNonzero(t, &s.Timeout, `,"timeout":`, maxUint32)
	if t.has(`,"netmask":`) {
		s.Netmask = t.addr(``)
	}
	parseNonzero(t, &s.PrefixLen, `,"prefix_len":`, maxUint8)
	if t.has(`,"pe":`) {
		s.PE = string(t.quoted(``))
	}
	t.need(`}`)
}

func (t *quickText) serverSpec(s *ipvs.ServerSpec) {
	s.Method = parseField[ipvs.ForwardMethod](t, `{"method":`, maxUint8)
	s.Weight = parseField[int32](t, `,"weight":`, maxInt32)
	parseNonzero(t, &s.UpperThreshold, `,"upper_threshold":`, maxUint32)
	parseNonzero(t, &s.LowerThreshold, `,"lower_threshold":`, maxUint32)
	if t.has(`,"tunnel":{"type":`) {
		s.Tunnel.Type = parseField[ipvs.TunnelType](t, ``, maxUint8)
		parseNonzero(t, &s.Tunnel.Port, `,"port":`, maxUint16)
		parseNonzero(t, &s.Tunnel.Flags, `,"flags":`, maxUint16)
		t.need(`}`)
	}
	t.need(`}`)
}

const (
	maxUint8  = 1<<8 - 1
	maxUint16 = 1<<16 - 1
	maxInt32  = 1<<31 - 1
	maxUint32 = 1<<32 - 1
)

// parseField reads a field with a number from 0 to most.
func parseField[T integer](t *quickText, name string, most uint64) T {
	t.need(name)
	n, digits := uint64(0), 0
	for ; digits < len(t.rest) && digits < 10 && t.rest[digits]-'0' <= 9; digits++ {
		n = n*10 + uint64(t.rest[digits]-'0')
	}
	if digits == 0 || n > most || digits > 1 && t.rest[0] == '0' {
		t.bad = true
	}
	t.rest = t.rest[digits:]
	return T(n)
}

// parseNonzero reads a field that may be left out.
func parseNonzero[T integer](t *quickText, to *T, name string, most uint64) {
	if t.has(name) {
		*to = parseField[T](t, ``, most)
	}
}

func (t *quickText) quoted(name string) []byte {
	t.need(name)
	t.need(`"`)
	end := bytes.IndexByte(t.rest, '"')
	if end < 0 || !plain(t.rest[:end]) {
		t.bad = true
		return nil
	}
	s := t.rest[:end]
	t.rest = t.rest[end+1:]
	return s
}

func (t *quickText) addr(name string) netip.Addr {
	s := t.quoted(name)
	if len(s) == 0 {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(string(s))
	if err != nil {
		t.bad = true
	}
	return a
}
