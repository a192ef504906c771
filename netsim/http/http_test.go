package http

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessages(t *testing.T) {
	m := Message{buf: []byte("POST /5 HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /0 HTTP/1.0\r\n\r\nrest")}
	head, body, ok := m.Take()
	require.True(t, ok)
	require.Equal(t, "POST /5 HTTP/1.1", FirstLine(head))
	require.Equal(t, "/5", path(head))
	require.False(t, closes(head))
	require.Equal(t, "abc", string(body))
	head, body, ok = m.Take()
	require.True(t, ok)
	require.True(t, closes(head))
	require.Empty(t, body)
	_, _, ok = m.Take()
	require.False(t, ok)
	require.Equal(t, "rest", string(m.buf))
	hostile := Message{buf: []byte("x\r\nContent-Length: -1\r\n\r\n")}
	_, _, ok = hostile.Take()
	require.False(t, ok)
	require.False(t, hostile.TooLong())
	require.Empty(t, path("nonsense"))
	require.True(t, closes("GET / HTTP/1.1\r\nConnection: Close"))
}

func TestAnswers(t *testing.T) {
	require.Equal(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", string(Answer{Body: []byte("hi")}.Bytes()))
	require.Equal(t, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", string(Answer{Status: 503}.Bytes()))
	require.Equal(t, "HTTP/1.1 418 Status\r\nContent-Length: 0\r\n\r\n", string(Answer{Status: 418}.Bytes()))
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"))
	f.Add([]byte("\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := Message{buf: b}
		for n := 0; ; n++ {
			head, body, ok := m.Take()
			if !ok {
				break
			}
			require.LessOrEqual(t, len(head)+len(body), len(b))
			require.NotContains(t, head, "\r\n\r\n")
			require.LessOrEqual(t, n, strings.Count(string(b), "\r\n\r\n"))
			closes(head)
			path(head)
		}
	})
}
