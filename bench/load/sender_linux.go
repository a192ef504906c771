package load

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	batchSize  = 64
	sendBuffer = 16 << 20
)

// Sender sends frames on one interface.
type Sender struct {
	fd    int
	index int
}

// NewSender opens a packet socket in the calling thread's namespace. It
// receives nothing, and goes round the interface's queueing discipline.
func NewSender(ifIndex int) (*Sender, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w (it takes CAP_NET_RAW)", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	return &Sender{fd: fd, index: ifIndex}, nil
}

// Close closes the socket.
func (s *Sender) Close() error { return unix.Close(s.fd) }

// Sent is what a run of a sender came to.
type Sent struct {
	Frames  int
	Refused int // by the interface
	Took    time.Duration
}

// PerSecond is the rate that was offered.
func (s Sent) PerSecond() float64 { return float64(s.Frames) / s.Took.Seconds() }

// Run sends frames for as long as told, perSecond of them or, if that is 0, as
// many as go. It works on the calling thread, which best stays on a core.
func (s *Sender) Run(ctx context.Context, f *Flows, perSecond float64, long time.Duration) (sent Sent) {
	b := newBatch(f, s.index)
	pace := Pace{PerSecond: perSecond}
	start := time.Now()
	for sent.Took < long && ctx.Err() == nil {
		if n := pace.Due(sent.Took, batchSize); n > 0 {
			b.fill(f, n)
			got := b.send(s.fd, n)
			sent.Frames += got
			sent.Refused += n - got
		}
		sent.Took = time.Since(start)
	}
	return sent
}

// StayOn keeps the calling thread on a core.
func StayOn(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("stay on core %d: %w", cpu, err)
	}
	return nil
}
