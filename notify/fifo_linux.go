package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"usvs/script"
)

// readerDelay is how long a reader that ended stays away; each time it ends
// at once the delay doubles, up to readerDelayMax.
const (
	readerDelay    = time.Second
	readerDelayMax = time.Minute
)

// FIFOConfig is notify_fifo and notify_fifo_script, or one of its kin.
type FIFOConfig struct {
	Path string
	// User and Group own the FIFO if we make it.
	User, Group string
	// Reader is the script that reads it, run for as long as we write. The
	// path is appended to its arguments. Without Args there is none.
	Reader script.Command
	Policy script.Policy
	// Log may be nil.
	Log Log
}

// FIFO is a named pipe for lines about what happens. Writing never blocks: it
// is open for reading, too, so that readers may come and go, and what does not
// fit is dropped. It is safe for concurrent use.
type FIFO struct {
	config  FIFOConfig
	made    bool // by us, so it goes with us
	dropped atomic.Uint64
	stop    context.CancelFunc
	reader  chan struct{} // closed when there is no reader script any more

	mu   sync.Mutex
	file int // guarded by mu; -1 after Close
}

// OpenFIFO makes the FIFO if it is missing, opens it and starts its reader.
func OpenFIFO(c FIFOConfig) (*FIFO, error) {
	if c.Log == nil {
		c.Log = func(Level, string) {}
	}
	f := &FIFO{config: c, reader: make(chan struct{})}
	err := f.make()
	if err != nil {
		return nil, fmt.Errorf("fifo %s: %w", c.Path, err)
	}
	f.file, err = unix.Open(c.Path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("fifo %s: %w", c.Path, err)
	}
	var ctx context.Context
	ctx, f.stop = context.WithCancel(context.Background())
	if len(c.Reader.Args) == 0 {
		close(f.reader)
		return f, nil
	}
	go f.keepReader(ctx)
	return f, nil
}

// make makes the FIFO, or sees that there is one.
func (f *FIFO) make() error {
	err := unix.Mkfifo(f.config.Path, 0o600)
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Lstat(f.config.Path)
		if err == nil && info.Mode().Type() != fs.ModeNamedPipe {
			err = errors.New("there is something else of this name")
		}
		return err
	}
	if err != nil {
		return err
	}
	f.made = true
	uid, gid, err := owner(f.config.User, f.config.Group)
	if err == nil && uid >= 0 {
		err = os.Lchown(f.config.Path, uid, gid)
	}
	if err != nil {
		os.Remove(f.config.Path)
	}
	return err
}

// owner looks a user and a group up; nobody is -1.
func owner(name, group string) (uid, gid int, err error) {
	if name == "" {
		return -1, -1, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	id := u.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, err
		}
		id = g.Gid
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(id)
	return uid, gid, err
}

// Write puts a line, which needs no newline, into the FIFO.
func (f *FIFO) Write(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file < 0 {
		return
	}
	// A write of at most PIPE_BUF bytes is whole or not at all, pipe(7).
	if _, err := unix.Write(f.file, []byte(line+"\n")); err != nil {
		f.drop(err)
	}
}

// drop counts a line that is lost, and tells of the first in a row of them.
func (f *FIFO) drop(err error) {
	if f.dropped.Add(1) == 1 {
		f.config.Log(Warning, fmt.Sprintf("fifo %s: lines are dropped: %v", f.config.Path, err))
	}
}

// Dropped returns how many lines were lost because nobody read the FIFO.
func (f *FIFO) Dropped() uint64 { return f.dropped.Load() }

// Shut closes the FIFO, so that its reader reads to the end, and removes it if
// we made it: another may take its name at once.
func (f *FIFO) Shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file < 0 {
		return
	}
	unix.Close(f.file)
	f.file = -1
	if f.made {
		os.Remove(f.config.Path)
	}
}

// Close shuts the FIFO and waits until its reader script has ended; when the
// context is done that is ended.
func (f *FIFO) Close(ctx context.Context) {
	f.Shut()
	select {
	case <-f.reader:
	case <-ctx.Done():
	}
	f.stop()
	<-f.reader
}

func (f *FIFO) closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file < 0
}

// keepReader runs the reader script, again and again if it ends.
func (f *FIFO) keepReader(ctx context.Context) {
	defer close(f.reader)
	prog, err := f.config.Policy.Prepare(f.config.Reader)
	if err != nil {
		f.config.Log(Warning, err.Error())
		return
	}
	for delay := readerDelay; ; {
		exit := prog.Run(ctx, script.Options{Args: []string{f.config.Path}, Bound: true})
		if ctx.Err() != nil || f.closed() {
			return
		}
		f.config.Log(Warning, fmt.Sprintf("fifo %s: its reader %s ended (%v)", f.config.Path, prog, exit))
		if exit.Took > readerDelayMax {
			delay = readerDelay
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
		delay = min(2*delay, readerDelayMax)
	}
}
