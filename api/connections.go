package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"usvs/ipvs"
	"usvs/ipvsadm"
)

// Connections come by the million, and as rules they are written by hand, as
// encoding/json writes a streamLine with a connection, and read by hand as far as
// they are written just so.

// listConnections streams the connection table in large writes.
func listConnections(b ipvsadm.Backend, w io.Writer) error {
	buf := bufio.NewWriterSize(w, streamBuffer)
	var gone error
	err := b.Connections(func(c *ipvs.ConnEntry) bool {
		_, gone = buf.Write(appendConnection(buf.AvailableBuffer(), c))
		return gone == nil
	})
	if err == nil {
		err = gone
	}
	if flushed := buf.Flush(); err == nil {
		err = flushed
	}
	return err
}

// appendConnection appends c's line of the stream.
func appendConnection(b []byte, c *ipvs.ConnEntry) []byte {
	b = appendInt(b, `{"value":{"protocol":`, c.Protocol)
	b = appendAddrPort(b, `,"client":`, c.Client)
	b = appendAddrPort(b, `,"virtual":`, c.Virtual)
	b = appendAddrPort(b, `,"real":`, c.Real)
	b = appendString(b, `,"state":`, c.State)
	b = strconv.AppendInt(append(b, `,"expires":`...), c.Expires, 10)
	if c.PEName != "" {
		b = appendString(b, `,"pe_name":`, c.PEName)
	}
	if c.PEData != "" {
		b = appendString(b, `,"pe_data":`, c.PEData)
	}
	if c.Template {
		b = append(b, `,"template":true`...)
	}
	if c.Synced {
		b = append(b, `,"synced":true`...)
	}
	b = appendInt(b, `,"method":`, c.Method)
	b = strconv.AppendUint(append(b, `,"in_packets":`...), c.InPackets, 10)
	return append(b, "}}\n"...)
}

func appendAddrPort(b []byte, name string, a netip.AddrPort) []byte {
	if a.Addr().Zone() != "" {
		return appendString(b, name, a.String())
	}
	b = append(append(b, name...), '"')
	if a.IsValid() {
		b = a.AppendTo(b)
	}
	return append(b, '"')
}

// Connections calls yield for each connection until it returns false.
func (c *Client) Connections(yield func(*ipvs.ConnEntry) bool) error {
	return c.answer(context.Background(), "connections", func(r io.Reader) error {
		return readConnections(r, yield)
	})
}

func readConnections(r io.Reader, yield func(*ipvs.ConnEntry) bool) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, streamBuffer), maxBody)
	var e ipvs.ConnEntry
	for in.Scan() {
		if !parseConnection(in.Bytes(), &e) {
			value, err := readLine(in.Bytes())
			if err != nil || value == nil {
				return err
			}
			var a connection
			if err := json.Unmarshal(value, &a); err != nil {
				return err
			}
			e = ipvs.ConnEntry(a)
		}
		if !yield(&e) {
			return nil
		}
	}
	err := in.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return cutShort(err)
}

// readLine returns the value of a stream's line, nil at its end, or its error.
func readLine(line []byte) (json.RawMessage, error) {
	var l streamLine
	switch err := json.Unmarshal(line, &l); {
	case err != nil:
		return nil, cutShort(err)
	case l.Error != nil:
		return nil, l.Error
	case l.End:
		return nil, nil
	case l.Value == nil:
		return nil, cutShort(fmt.Errorf("a line without a value"))
	}
	return l.Value, nil
}

// parseConnection reads what appendConnection writes. Anything else is not ok,
// even if it means the same.
func parseConnection(line []byte, e *ipvs.ConnEntry) (ok bool) {
	t := &quickText{rest: line}
	*e = ipvs.ConnEntry{State: e.State}
	e.Protocol = parseField[ipvs.Protocol](t, `{"value":{"protocol":`, maxUint8)
	e.Client = t.addrPort(`,"client":`)
	e.Virtual = t.addrPort(`,"virtual":`)
	e.Real = t.addrPort(`,"real":`)
	if state := t.quoted(`,"state":`); string(state) != e.State {
		e.State = string(state)
	}
	e.Expires = int64(parseField[uint32](t, `,"expires":`, maxUint32))
	if t.has(`,"pe_name":`) {
		e.PEName = string(t.quoted(``))
	}
	if t.has(`,"pe_data":`) {
		e.PEData = string(t.quoted(``))
	}
	e.Template = t.has(`,"template":true`)
	e.Synced = t.has(`,"synced":true`)
	e.Method = parseField[ipvs.ForwardMethod](t, `,"method":`, maxUint8)
	e.InPackets = uint64(parseField[uint32](t, `,"in_packets":`, maxUint32))
	t.need(`}}`)
	return !t.bad && len(t.rest) == 0
}

func (t *quickText) addrPort(name string) netip.AddrPort {
	s := t.quoted(name)
	if len(s) == 0 {
		return netip.AddrPort{}
	}
	a, err := netip.ParseAddrPort(string(s))
	if err != nil {
		t.bad = true
	}
	return a
}
