package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctlPath is the file of a kernel parameter. Path elements are given one by
// one because interface names may contain dots.
func sysctlPath(key ...string) string { return "/proc/sys/" + strings.Join(key, "/") }

func readSysctl(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read kernel parameter: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func readSysctlInt(path string) (int, error) {
	s, err := readSysctl(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(s)
}

// setSysctl writes a kernel parameter unless it has that value already: where
// /proc/sys is read-only the right value will do.
func setSysctl(path, value string) error {
	if have, err := readSysctl(path); err == nil && have == value {
		return nil
	}
	err := os.WriteFile(path, []byte(value), 0)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("set %s to %s: %w (in a container: set it from outside, or let the container write to /proc/sys)", path, value, err)
	}
	return fmt.Errorf("set %s to %s: %w", path, value, err)
}
