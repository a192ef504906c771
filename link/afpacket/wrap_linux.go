package afpacket

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"usvs/link/internal/netns"
	"usvs/link/wrap"
)

// wrapper is a socket for super-frames within tunnels, and the program that makes
// the kernel take them. The program is not there before it is asked for.
type wrapper struct {
	fd    int
	home  netns.Namespace
	asked atomic.Bool
	ready atomic.Bool

	mu       sync.Mutex
	index    int       // guarded by mu; of the interface
	attached io.Closer // guarded by mu; nil: nothing
}

// openWrapper returns a wrapper for an interface, in the calling thread's namespace.
func openWrapper(index int, opts Options) (*wrapper, error) {
	home, err := netns.Current()
	if err != nil {
		return nil, err
	}
	fd, err := openSender(index, opts)
	if err != nil {
		home.Close()
		return nil, err
	}
	return &wrapper{fd: fd, home: home, index: index}, nil
}

// Wraps reports whether the device takes super-frames within tunnels. The first
// call makes it do so soon, if that is permitted. Anyone may call it.
func (d *Device) Wraps() bool {
	w := d.wrap
	if w == nil || w.ready.Load() {
		return w != nil
	}
	if w.asked.CompareAndSwap(false, true) {
		go func() {
			if !d.wait.Enter() {
				return
			}
			defer d.wait.Leave()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.attachLocked(d.log.With("interface", d.name))
		}()
	}
	return false
}

// attachLocked puts the program on the interface, once: one that was asked for
// before the interface came back may meet another that was asked for afterwards,
// and the second of two programs would find no tunnel's headers to take off.
func (w *wrapper) attachLocked(log *slog.Logger) {
	if w.attached != nil {
		return
	}
	err := w.home.Do(func() (err error) {
		w.attached, err = wrap.Attach(w.index, w.fd)
		return err
	})
	if err != nil {
		log.Info("large TCP packets for tunnels are cut here, one by one", "why", err)
		return
	}
	w.ready.Store(true)
	log.Info("large TCP packets for tunnels are left to the kernel to cut")
}

// bind is called when the interface has come back under another index. The
// program went with the old one.
func (w *wrapper) bind(index int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detachLocked()
	w.index = index
	w.asked.Store(false)
	return bindTo(w.fd, index, nothing)
}

func (w *wrapper) detachLocked() {
	w.ready.Store(false)
	if w.attached != nil {
		_ = w.attached.Close()
		w.attached = nil
	}
}

// close is called when nobody is inside the device any more.
func (w *wrapper) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detachLocked()
	unix.Close(w.fd)
	w.home.Close()
}
