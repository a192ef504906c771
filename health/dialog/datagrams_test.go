package dialog

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"usvs/health"
)

func TestQuestion(t *testing.T) {
	for _, c := range []struct {
		q    *health.DNSQuestion
		want string
	}{
		{nil, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01"},
		{&health.DNSQuestion{Type: "aaaa", Name: "www.example.org."}, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x1c\x00\x01"},
		{&health.DNSQuestion{Type: "A", Name: "b"}, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01b\x00\x00\x01\x00\x01"},
		{&health.DNSQuestion{Type: "dnskey", Name: "b"}, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01b\x00\x00\x30\x00\x01"},
		{&health.DNSQuestion{Type: "RRSIG", Name: "."}, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x2e\x00\x01"},
	} {
		d, err := New(&health.Probe{Kind: health.DNS, DNS: c.q}, 0x1234)
		require.NoError(t, err)
		assert.Equal(t, Move{Say: []byte(c.want)}, d.Begin())
	}
}

func TestDNSAnswers(t *testing.T) {
	answer := func(h dnsmessage.Header) []byte {
		m := dnsmessage.Message{Header: h}
		b, err := m.Pack()
		require.NoError(t, err)
		return b
	}
	stray := failure("read error occurred.", errStrays)
	for _, c := range []struct {
		name     string
		datagram []byte
		want     Move
	}{
		{"an answer", answer(dnsmessage.Header{ID: 7, Response: true}), over(success)},
		{"an error", answer(dnsmessage.Header{ID: 7, Response: true, RCode: 2}), over(failure("read error occurred. (rcode = 2)", nil))},
		{"to another", answer(dnsmessage.Header{ID: 8, Response: true}), over(stray)},
		{"a question", answer(dnsmessage.Header{ID: 7}), over(stray)},
		{"too short", answer(dnsmessage.Header{ID: 7, Response: true})[:11], over(stray)},
		{"empty", nil, over(stray)},
	} {
		d, err := New(&health.Probe{Kind: health.DNS}, 7)
		require.NoError(t, err)
		var got Move
		for n := 1; !got.Done; n++ {
			require.LessOrEqual(t, n, strayDatagrams, "there is an end to it")
			got = d.Take(c.datagram)
		}
		assert.Equal(t, c.want, got, c.name)
	}
}

func FuzzDNS(f *testing.F) {
	f.Add([]byte("\x00\x01\x81\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := New(&health.Probe{Kind: health.DNS}, 1)
		require.NoError(t, err)
		isAnswer := len(b) >= 12 && b[0] == 0 && b[1] == 1 && b[2]&0x80 != 0
		got := d.Take(b)
		require.Equal(t, isAnswer, got.Done)
		require.Equal(t, isAnswer && b[3]&0xf == 0, got.Done && got.Result == success)
	})
}

func TestUDP(t *testing.T) {
	reply := health.UDPExchange{RequireReply: true, Reply: []byte{1, 0x25}, ReplyMask: []byte{0xff, 0xf0}, MaxReply: 255}
	for _, c := range []struct {
		name  string
		udp   health.UDPExchange
		reply []byte
		cause string
	}{
		{"any answer", health.UDPExchange{}, []byte("x"), ""},
		{"and an empty one", health.UDPExchange{}, nil, ""},
		{"the right reply", reply, []byte{1, 0x29, 7}, ""},
		{"another", reply, []byte{1, 0x35}, errReply.Error()},
		{"a shorter one", reply, []byte{1}, errReply.Error()},
		{"one that is too short", health.UDPExchange{RequireReply: true, MinReply: 2, MaxReply: 9}, []byte{1}, "the reply has 1 bytes"},
		{"one that is too long", health.UDPExchange{RequireReply: true, MaxReply: 2}, []byte("abc"), "the reply has 3 bytes"},
	} {
		got := newExchange(&c.udp).Take(c.reply)
		assert.True(t, got.Done)
		assert.Equal(t, c.cause, got.Result.Cause, c.name)
		assert.Equal(t, c.cause == "", got.Result == success, c.name)
	}
	assert.Equal(t, filler, string(newExchange(nil).Begin().Say))
	assert.Len(t, filler, 32)
	assert.Equal(t, "x", string(newExchange(&health.UDPExchange{Payload: []byte("x")}).Begin().Say))
}

func FuzzUDP(f *testing.F) {
	f.Add([]byte{1, 2}, []byte{1}, []byte{0xff}, 0, 255)
	f.Fuzz(func(t *testing.T, reply, want, mask []byte, shortest, longest int) {
		x := &health.UDPExchange{RequireReply: true, Reply: want, ReplyMask: mask, MinReply: shortest, MaxReply: longest}
		right := len(reply) >= shortest && len(reply) <= longest
		for i := range want {
			m := byte(0xff)
			if i < len(mask) {
				m = mask[i]
			}
			right = right && i < len(reply) && reply[i]&m == want[i]&m
		}
		got := newExchange(x).Take(reply)
		require.True(t, got.Done)
		require.Equal(t, right, got.Result == success)
	})
}
