package netns

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds the answer of a server.
const maxAnswer = 16 << 20

// serve starts the machine's servers.
func (m *machine) serve() error {
	for _, port := range m.node.HTTP {
		var ln net.Listener
		if err := m.ns.Do(func() (err error) {
			ln, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
			return err
		}); err != nil {
			return err
		}
		server := &http.Server{Handler: answerHTTP(m.node.Name)}
		m.servers = append(m.servers, server)
		go server.Serve(ln)
	}
	for _, port := range m.node.UDP {
		for _, network := range []string{"udp4", "udp6"} {
			if err := m.serveUDP(network, port); err != nil {
				return err
			}
		}
	}
	return nil
}

// answerHTTP answers `POST /100` with 100 bytes that begin with the server's
// name. It leaves it to the client to close.
func answerHTTP(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		size, _ := strconv.Atoi(path.Base(r.URL.Path))
		body := pad(name+"\n", min(size, maxAnswer))
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	})
}

// serveUDP answers datagrams with the server's name, from the address that was
// asked: a plain socket would take its own.
func (m *machine) serveUDP(network string, port uint16) error {
	var conn *net.UDPConn
	err := m.ns.Do(func() (err error) {
		conn, err = net.ListenUDP(network, &net.UDPAddr{Port: int(port)})
		return err
	})
	if err != nil {
		return err
	}
	m.servers = append(m.servers, conn)
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if network == "udp6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sockErr error
	if err := raw.Control(func(fd uintptr) { sockErr = unix.SetsockoptInt(int(fd), level, option, 1) }); err != nil {
		return err
	}
	if sockErr != nil {
		return sockErr
	}
	go answerUDP(conn, m.node.Name)
	return nil
}

// answerUDP answers until the socket is closed.
func answerUDP(conn *net.UDPConn, name string) {
	data, oob := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, k, _, from, err := conn.ReadMsgUDPAddrPort(data, oob)
		if err != nil {
			return
		}
		info := oob[:k]
		anyInterface(info)
		_, _, _ = conn.WriteMsgUDPAddrPort(pad(name+"\n", n), info, from)
	}
}

// anyInterface makes of where a packet came in where an answer may go out: it
// keeps the address (in_pktinfo, in6_pktinfo) and forgets the interface.
func anyInterface(oob []byte) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && len(m.Data) >= unix.SizeofInet4Pktinfo:
			clear(m.Data[:4])
		case m.Header.Level == unix.IPPROTO_IPV6 && len(m.Data) >= unix.SizeofInet6Pktinfo:
			clear(m.Data[16:20])
		}
	}
}
