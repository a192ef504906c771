package linktest

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"usvs/link"
	"usvs/wire"
)

// Patience is how long tests of devices wait for what should happen soon.
const Patience = 10 * time.Second

// Batch is n frames to read into.
func Batch(n int) []*link.Frame {
	fs := make([]*link.Frame, n)
	for i := range fs {
		fs[i] = wire.NewFrame(wire.MaxFrame)
	}
	return fs
}

// Eventually calls f until it is true.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never:", what)
		}
	}
}

// KeepReading reads until the test ends, as a pump would.
func KeepReading(t testing.TB, d link.Device) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = readOn(d, time.Second)
	}()
	t.Cleanup(func() { _ = d.Close(); <-done })
}

// readOn reads until there is an error.
func readOn(d link.Device, wait time.Duration) error {
	for fs := Batch(link.BatchSize); ; {
		if _, err := d.ReadBatch(fs, wait); err != nil {
			return err
		}
	}
}

// WaitWakeClose tries how a quiet device waits, wakes and closes, and that
// nothing can be done with it afterwards. It ends closed.
func WaitWakeClose(t testing.TB, d link.Device, frame *link.Frame) {
	t.Helper()
	fs := Batch(1)
	silent := func(wait time.Duration) {
		t.Helper()
		if n, err := d.ReadBatch(fs, wait); n > 1 || err != nil { // the kernel may say something
			t.Fatal(n, err)
		}
	}
	silent(0)
	silent(time.Millisecond)
	go d.Wake()
	silent(-1)

	result := make(chan error)
	go func() { result <- readOn(d, -1) }()
	time.Sleep(5 * time.Millisecond)
	w := d.NewWriter()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	closed := func(what string, err error) {
		if !errors.Is(err, link.ErrClosed) {
			t.Error(what, "after it is closed:", err)
		}
	}
	closed("reading", <-result)
	closed("closing", d.Close())
	_, err := w.WriteBatch([]*link.Frame{frame})
	closed("writing", err)
	d.Wake()
}

// Log is a log that tests can look at.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes what is logged.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Has reports whether something was said.
func (l *Log) Has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

// Logger is a logger to it.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
