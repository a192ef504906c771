package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"usvs/sysctl"
)

// settingsDir is where the kernel has its settings; the files below it are
// known by name to rules files.
const settingsDir = "/proc/sys/"

// sysctl carries out a sysctl command of a rules file. What it says of other
// settings than those of net.ipv4.vs is the host's affair and returned as a note.
func (c *Control) sysctl(words []string) (note string, err error) {
	ours := slices.DeleteFunc(slices.Clone(words), foreign)
	theirs := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !foreign(w) })
	if slices.Contains(words, "-p") || slices.Contains(words, "--system") {
		ours = words // refused
	} else if len(theirs) > 0 {
		note = "sysctl " + strings.Join(theirs, " ")
		if !slices.ContainsFunc(ours, sysctl.Ours) {
			return note, nil
		}
	}
	var stderr bytes.Buffer
	s := &settings{Control: c}
	if sysctl.Run(ours, s, io.Discard, &stderr) == 0 {
		return note, nil
	}
	if s.err != nil {
		return "", s.err // says more
	}
	return "", errors.New(strings.TrimSpace(stderr.String()))
}

// foreign reports whether a word names a setting that is not below net.ipv4.vs.
func foreign(word string) bool {
	key, _, _ := strings.Cut(word, "=")
	return !strings.HasPrefix(word, "-") && strings.ContainsAny(key, "./") && !sysctl.Ours(word)
}

// settings remembers the first error.
type settings struct {
	*Control
	err error
}

// SetSysctl is Control's.
func (s *settings) SetSysctl(name, value string) error {
	err := s.Control.SetSysctl(name, value)
	if s.err == nil {
		s.err = err
	}
	return err
}

// writeSetting carries out `echo VALUE > FILE` of a rules file.
func (c *Control) writeSetting(words []string, file string) (note string, err error) {
	text := strings.Join(words, " ")
	if words[0] != "echo" {
		return "", fmt.Errorf("`%s' cannot write to %s in a rules file; `echo VALUE' can", words[0], file)
	}
	name, ok := strings.CutPrefix(file, settingsDir+"net/ipv4/vs/")
	if !ok {
		return text + " > " + file, nil
	}
	return "", c.SetSysctl(name, strings.Join(words[1:], " "))
}

// sysctls applies the settings that the file makes, in the order of their
// names; those it does not mention stay.
func (a *adoption) sysctls(want *Control) {
	was := a.Control.sysctls
	for _, name := range slices.Sorted(maps.Keys(want.named)) {
		old, _ := a.Control.sysctls.Sysctl(name)
		value, err := want.sysctls.Sysctl(name)
		if err == nil && value != old {
			err = a.Control.sysctls.SetSysctl(name, value)
			a.cfg.Log.Info("setting changed", "setting", name, "from", old, "to", value)
		}
		if err != nil {
			a.errs = append(a.errs, err)
		}
	}
	if modes(&was) != modes(&a.Control.sysctls) {
		a.defendLocked()
	}
}
