package app

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCallIDHeader holds the forms of the header to what Linux 6.1 made of them.
func TestCallIDHeader(t *testing.T) {
	long := strings.Repeat("d", MaxCallID)
	for _, c := range []struct{ header, want string }{
		{"Call-ID: a1@host.test\r\n", "a1@host.test"},
		{"Call-ID:a2\r\n", "a2"},
		{"Call-ID :a3\r\n", "a3"},
		{"Call-ID  :   a4@h\r\n", "a4@h"},
		{"CALL-ID: a5\r\n", "a5"},
		{"call-id: a6\r\n", "a6"},
		{"i: a7\r\n", "a7"},
		{"I: a8\r\n", "a8"},
		{"i:a9\r\n", "a9"},
		{"Call-ID: b1 trailing\r\n", ""},
		{"Call-ID: b2;x=y\r\n", ""},
		{"Call-ID: b3\n", "b3"},
		{"Call-ID: b4\r", "b4"},
		{"Call-ID:\r\n b5\r\n", "b5"},
		{"Call-ID: b6@h@i\r\n", ""},
		{"Call-ID: \r\n", ""},
		{"Call-ID: \"b7\"\r\n", "\"b7\""},
		{"X-Call-ID: b8\r\n", ""},
		{"Call-IDx: b9\r\n", ""},
		{"Call-ID: c1\r\nCall-ID: c2\r\n", "c1"},
		{"Subject: i: c3\r\n", ""},
		{"Call-ID: b\xc3\xa9\r\n", ""},
		{"Call-ID: " + long + "\r\n", long},
		{"Call-ID: " + long + "d\r\n", ""},
		{"Call-ID: c4@[::1]:5<>x\r\n", "c4@[::1]:5<>x"},
		{"Call-ID:\tc5\r\n", "c5"},
		{"Call-ID: c6\r\n more\r\n", "c6"},
		{"Call-ID c7\r\n", ""},
		{"Call-ID: c8/&~\r\n", ""},
		{"Call-ID: c9=d\r\n", ""},
		{"Call-ID: d1@\r\n", ""},
		{"Info: x\r\ni: d2\r\n", "d2"},
	} {
		text := "INVITE sip:bob@example.test SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9\r\n" + c.header + "CSeq: 1 INVITE\r\n\r\n"
		id, ok := CallID([]byte(text))
		require.Equal(t, c.want != "", ok, "%q", c.header)
		if ok {
			require.Equal(t, c.want, string(id), "%q", c.header)
		}
	}
}

// TestCallIDMessage does so for whole messages.
func TestCallIDMessage(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"INVITE sip:x SIP/2.0\r\nCall-ID: f1", ""},
		{"INVITE sip:x SIP/2.0\r\nCall-ID: f2\r\n", "f2"},
		{"SIP/2.0 200 OK\r\nCall-ID: f3\r\n\r\n", "f3"},
		{"\r\n\r\n", ""},
		{"", ""},
		{"Call-ID: f4\r\n", ""},
		{"INVITE sip:x SIP/2.0\r\n\r\nCall-ID: f5\r\n", "f5"},
		{"HTTP/1.1 200 OK\r\nCall-ID: f6\r\n\r\n", "f6"},
		{"INVITE sip:x SIP/2.0\nCall-ID: f7\n\n", "f7"},
		{"\r\n\r\nINVITE sip:x SIP/2.0\r\nCall-ID: f8\r\n\r\n", "f8"},
		{"junk\r\nCall-ID: f9\r\n\r\n", "f9"},
		{"ACK sip:x SIP/2.0\r\ni: g1\r\n\r\n", "g1"},
		{"hello world this is no sip", ""},
	} {
		id, ok := CallID([]byte(c.text))
		require.Equal(t, c.want != "", ok, "%q", c.text)
		if ok {
			require.Equal(t, c.want, string(id), "%q", c.text)
		}
	}
}

func TestCallIDAllocatesNothing(t *testing.T) {
	text := []byte("INVITE sip:x SIP/2.0\r\nVia: x\r\nCall-ID: a@b\r\n\r\n")
	require.Zero(t, testing.AllocsPerRun(100, func() { CallID(text) }))
}
