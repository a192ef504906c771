package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// addrRecord is an address that was added.
type addrRecord struct {
	Interface string       `json:"interface"`
	Prefix    netip.Prefix `json:"prefix"`
}

// sysctlRecord is a kernel parameter that was changed.
type sysctlRecord struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	Set    string `json:"set"`
}

// realServerState is what was changed in a network namespace and how to put it
// back. A change is recorded before it is made: after a crash in between there
// may be nothing to put back, but never something that nobody knows of.
type realServerState struct {
	VIPs    []netip.Addr   `json:"vips"`
	Device  string         `json:"device,omitempty"`
	Tunnel  bool           `json:"tunnel,omitempty"`
	Addrs   []addrRecord   `json:"addrs,omitempty"`
	Sysctls []sysctlRecord `json:"sysctls,omitempty"`
	Raised  []string       `json:"raised,omitempty"` // interfaces that were set up

	path string
	lock *os.File
}

// openState reads the namespace's state, and keeps others from it until close.
func openState(dir string) (*realServerState, error) {
	if dir == "" {
		dir = DefaultStateDir
	}
	name, err := namespaceName()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	s := &realServerState{path: filepath.Join(dir, "realserver-"+name+".json")}
	if s.lock, err = lockFile(filepath.Join(dir, "realserver.lock")); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(s.path)
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.close()
		return nil, fmt.Errorf("state file %s: %w", s.path, err)
	}
	return s, nil
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// namespaceName names the network namespace: by its cookie, which is never used
// again, or, before Linux 5.14, by its inode.
func namespaceName() (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil {
		return strconv.FormatUint(cookie, 10), nil
	}
	info, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return "", err
	}
	return "inode-" + strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10), nil
}

func (s *realServerState) close() { s.lock.Close() }

// save replaces the file as a whole, or removes it if there is nothing to keep.
func (s *realServerState) save() error {
	if len(s.VIPs) == 0 && len(s.Addrs) == 0 && len(s.Sysctls) == 0 && len(s.Raised) == 0 {
		err := os.Remove(s.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	next := s.path + ".new"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	return os.Rename(next, s.path)
}

// setSysctl sets a parameter unless its value is one of accepted, the first of
// which is the one to set. The value before the first change is kept.
func (s *realServerState) setSysctl(path string, accepted ...string) error {
	have, err := readSysctl(path)
	if err != nil {
		return err
	}
	if slices.Contains(accepted, have) {
		return nil
	}
	want := accepted[0]
	i := slices.IndexFunc(s.Sysctls, func(r sysctlRecord) bool { return r.Path == path })
	if i < 0 {
		s.Sysctls = append(s.Sysctls, sysctlRecord{path, have, want})
		if err := s.save(); err != nil {
			return err
		}
	}
	return setSysctl(path, want)
}

// restoreSysctls puts the parameters back, the last changed first. One that
// somebody else has changed since is theirs.
func (s *realServerState) restoreSysctls() error {
	var errs []error
	for _, r := range slices.Backward(s.Sysctls) {
		have, err := readSysctl(r.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // the interface is gone
		case err != nil:
			errs = append(errs, err)
		case have != r.Set:
			slog.Warn("host: left as it is, somebody else has changed it", "path", r.Path, "value", have, "before", r.Before)
		default:
			errs = append(errs, setSysctl(r.Path, r.Before))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.Sysctls = nil
	return nil
}
