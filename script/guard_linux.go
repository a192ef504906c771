package script

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// guarded fails if somebody other than root may change the file, or may put
// another in its place: keepalived's rule for enable_script_security. The file
// and every directory above it have to belong to root and be writable by
// nobody else; a directory with the sticky bit may be writable by others.
func guarded(path string) error {
	for {
		if err := rootsOwn(path); err != nil {
			return err
		}
		up := filepath.Dir(path)
		if up == path {
			return nil
		}
		path = up
	}
}

func rootsOwn(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	mode := info.Mode()
	switch {
	case stat.Uid != 0:
		return fmt.Errorf("%w: %s belongs to user %d", ErrInsecure, path, stat.Uid)
	case stat.Gid != 0 && mode&0o020 != 0:
		return fmt.Errorf("%w: group %d may write %s", ErrInsecure, stat.Gid, path)
	case mode&0o002 != 0 && mode&fs.ModeSticky == 0:
		return fmt.Errorf("%w: everybody may write %s", ErrInsecure, path)
	}
	return nil
}
