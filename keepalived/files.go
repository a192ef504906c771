package keepalived

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Files is how the package reaches files.
type Files interface {
	// Read returns a file's text. A directory and a file somebody may execute
	// are errors, because keepalived reads neither.
	Read(name string) ([]byte, error)
	// Match returns the names that match a pattern as of glob(3), sorted.
	Match(pattern string) ([]string, error)
	// Executable reports whether the file is there and may be run.
	Executable(name string) bool
}

// Text is Files in memory, by name. It has no executables.
type Text map[string]string

// Read implements Files.
func (t Text) Read(name string) ([]byte, error) {
	text, ok := t[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// Match implements Files.
func (t Text) Match(pattern string) ([]string, error) {
	var names []string
	for name := range t {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok || name == pattern {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Executable implements Files.
func (Text) Executable(string) bool { return false }

// braces expands {a,b} in a file name pattern, as glob(3) does with GLOB_BRACE.
func braces(pattern string) []string {
	open := strings.IndexByte(pattern, '{')
	if open < 0 {
		return []string{pattern}
	}
	shut := strings.IndexByte(pattern[open:], '}')
	if shut < 0 {
		return []string{pattern}
	}
	var all []string
	for _, member := range strings.Split(pattern[open+1:open+shut], ",") {
		all = append(all, pattern[:open]+member+pattern[open+shut+1:])
	}
	return all
}
