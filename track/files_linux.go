package track

import (
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// interval is how often files and processes are looked at.
const interval = time.Second

// watched is what happens to a directory when a file in it has changed. That one
// is being written to is not among it: it would be seen while it is empty.
const watched = unix.IN_CLOSE_WRITE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR

// Files follows the numbers in files. K names what is watched: several names
// may stand for one file. It is safe for concurrent use.
type Files[K comparable] struct {
	report func(K, int)
	wake   chan struct{}
	quit   chan struct{}
	all    sync.WaitGroup
	hints  *os.File // inotify, or nil

	mu    sync.Mutex
	files map[K]*file // guarded by mu
}

// file is one watched. Only the loop touches told and value.
type file struct {
	path  string
	told  bool
	value int
}

// NewFiles returns a watcher of files. report gets each file's number soon
// after Watch, and again whenever it changes. A file that is missing or holds
// no number counts as 0.
func NewFiles[K comparable](report func(K, int)) *Files[K] {
	f := &Files[K]{report: report, wake: make(chan struct{}, 1), quit: make(chan struct{}), files: map[K]*file{}}
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		f.hints = os.NewFile(uintptr(fd), "inotify")
		f.all.Go(f.listen)
	}
	f.all.Go(f.run)
	return f
}

// Watch begins to follow the number in a file; a name that is in use is given
// to the new file.
func (f *Files[K]) Watch(name K, path string) {
	f.mu.Lock()
	f.files[name] = &file{path: path}
	f.mu.Unlock()
	f.hint()
}

// Unwatch ends what Watch began.
func (f *Files[K]) Unwatch(name K) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, name)
}

// Close ends all watching.
func (f *Files[K]) Close() {
	close(f.quit)
	if f.hints != nil {
		f.hints.Close()
	}
	f.all.Wait()
}

// hint makes the loop look now.
func (f *Files[K]) hint() {
	select {
	case f.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// listen turns what inotify says into hints; which file it is does not matter.
func (f *Files[K]) listen() {
	buf := make([]byte, 4096)
	for {
		if _, err := f.hints.Read(buf); err != nil {
			return
		}
		f.hint()
	}
}

// run looks at all files when there is a hint, and once in a while.
func (f *Files[K]) run() {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-f.quit:
			return
		case <-f.wake:
		case <-tick.C:
		}
		f.look()
	}
}

// look reads the files and reports what is new.
func (f *Files[K]) look() {
	f.mu.Lock()
	files := maps.Clone(f.files)
	f.mu.Unlock()
	f.follow(files)
	values := map[string]int{} // several names may stand for one file
	for name, file := range files {
		value, known := values[file.path]
		if !known {
			value = readNumber(file.path)
			values[file.path] = value
		}
		if (!file.told || value != file.value) && f.current(name, file) {
			file.told, file.value = true, value
			f.report(name, value)
		}
	}
}

// current reports whether a name still stands for a file.
func (f *Files[K]) current(name K, file *file) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.quit:
		return false
	default:
		return f.files[name] == file
	}
}

// follow asks for hints about the directories. To ask again for the same one
// changes nothing, and helps if it was made anew.
func (f *Files[K]) follow(files map[K]*file) {
	if f.hints == nil {
		return
	}
	conn, err := f.hints.SyscallConn()
	if err != nil {
		return
	}
	dirs := map[string]bool{}
	for _, file := range files {
		dirs[filepath.Dir(file.path)] = true
	}
	_ = conn.Control(func(fd uintptr) {
		for dir := range dirs {
			// Without a hint the file is looked at every interval.
			_, _ = unix.InotifyAddWatch(int(fd), dir, watched)
		}
	})
}
