package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"usvs/bench"
	"usvs/clock"
	"usvs/netsim/tcp"
)

// megabyte is what one upload has.
const megabyte = 1 << 20

// uploads sends a number of bytes, a connection for every megabyte, the
// handshake and the end of each included.
func uploads(bytes int) (bench.Round, error) {
	l, err := newLAN("ipvsadm -A -t 10.0.0.100:80 -s rr", "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.2 -g")
	if err != nil {
		return bench.Round{}, err
	}
	received, err := l.sink()
	if err != nil {
		return bench.Round{}, err
	}
	text := make([]byte, megabyte)
	begin := time.Now()
	for sent := 0; sent < bytes; sent += megabyte {
		*received = 0
		if err := l.upload(text); err != nil {
			return bench.Round{}, err
		}
		if !l.net.RunWhile(time.Minute, func() bool { return *received < megabyte }) {
			return bench.Round{}, fmt.Errorf("%d of %d bytes arrived", *received, megabyte)
		}
		l.net.Run(time.Second)
	}
	return bench.Round{Value: float64(bytes) / 1e6 / time.Since(begin).Seconds()}, nil
}

// upload begins to send text.
func (l *lan) upload(text []byte) error {
	push := func(now clock.Instant, c *tcp.Conn) {
		n, _ := c.Write(now, text) // what is not taken is offered again
		if text = text[n:]; len(text) == 0 {
			c.CloseWrite(now)
		}
	}
	_, err := l.client.DialTCP(netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.100:80"), tcp.Events{Connected: push, Writable: push})
	return err
}

// sink makes the server count what it is sent.
func (l *lan) sink() (received *int, err error) {
	received = new(int)
	buf := make([]byte, 1<<16)
	read := func(now clock.Instant, c *tcp.Conn) {
		for {
			n, err := c.Read(now, buf)
			*received += n
			if errors.Is(err, tcp.ErrWouldBlock) {
				return
			}
			if err != nil {
				c.Close(now)
				return
			}
		}
	}
	_, err = l.server.ListenTCP(netip.MustParseAddrPort("0.0.0.0:80"), func(clock.Instant, *tcp.Conn) tcp.Events {
		return tcp.Events{Readable: read}
	})
	return received, err
}
