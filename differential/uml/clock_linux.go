package uml

import (
	"encoding/binary"
	"os"
	"syscall"
	"time"
)

// While the guest sleeps its clock leaps: by a fraction of the time that it
// sleeps, within limits. A leap is the lateness of its timers. rest is what it
// gets of real time after each to run those that are due.
const (
	leapShare = 200
	leapMin   = 20 * time.Millisecond
	leapMax   = 500 * time.Millisecond
	rest      = 150 * time.Microsecond
)

// clock moves the guest's time.
type clock struct {
	memory  *os.File
	process *os.Process
	address uint64
	ahead   time.Duration
}

func newClock(p *os.Process, memory string, address uint64) (*clock, error) {
	f, err := os.OpenFile(memory, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &clock{memory: f, process: p, address: address}, nil
}

// advance lets d pass in the guest, which must be idle.
func (c *clock) advance(d time.Duration) error {
	start := time.Now()
	leap := min(max(d/leapShare, leapMin), leapMax)
	for target := c.ahead + d; c.ahead < target; {
		step := min(leap, target-c.ahead)
		c.ahead += step
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(c.ahead))
		if _, err := c.memory.WriteAt(b[:], int64(c.address)); err != nil {
			return err
		}
		// The guest's timer interrupt. What is due runs; the next deadline is found.
		if err := c.process.Signal(syscall.SIGALRM); err != nil {
			return err
		}
		pause := syscall.NsecToTimespec(int64(rest)) // time.Sleep rounds up to milliseconds
		_ = syscall.Nanosleep(&pause, nil)
		// Real time passed as well, and counts.
		passed := time.Since(start)
		start = start.Add(passed)
		target -= passed
	}
	return nil
}

func (c *clock) close() { c.memory.Close() }
