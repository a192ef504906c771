package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// Errors that say why a command may not or cannot run.
var (
	ErrInsecure  = errors.New("insecure")
	ErrNotFound  = errors.New("not found/accessible")
	ErrPrivilege = errors.New("only root can run programs as somebody else")
)

// fallbackUser runs scripts for which the configuration names nobody, where
// there is such a user.
const fallbackUser = "keepalived_script"

// Command is a program and its arguments as configured, and whom it runs as.
// An empty User is that of the Policy, an empty Group the user's own.
type Command struct {
	Args        []string
	User, Group string
}

// Policy holds for all scripts of a configuration.
type Policy struct {
	// User and Group are script_user.
	User, Group string
	// Secure is enable_script_security: a program that somebody other than
	// root could change does not run as root.
	Secure bool
}

// Program is a Command that was found fit to run.
type Program struct {
	path     string // the file, symbolic links resolved
	args     []string
	uid, gid uint32
	readable bool // a test whether a file can be read, not a program
}

// String is the command line.
func (p *Program) String() string { return strings.Join(p.args, " ") }

// Prepare finds a command's file and user. It fails if the command can not or
// must not run: ErrNotFound, ErrInsecure, ErrPrivilege.
func (p Policy) Prepare(c Command) (*Program, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, fmt.Errorf("script without a name: %w", ErrNotFound)
	}
	prog := &Program{args: c.Args}
	if err := prog.become(p.owner(c)); err != nil {
		return nil, fmt.Errorf("script %s: %w", prog, err)
	}
	if err := prog.find(); err != nil {
		return nil, fmt.Errorf("script %s: %w", prog, err)
	}
	if p.Secure && (prog.uid == 0 || prog.gid == 0) && !prog.readable {
		if err := guarded(prog.path); err != nil {
			return nil, fmt.Errorf("script %s: %w", prog, err)
		}
	}
	return prog, nil
}

// owner is whom a command runs as; empty is whoever we are.
func (p Policy) owner(c Command) (name, group string) {
	if c.User != "" {
		return c.User, c.Group
	}
	if p.User != "" {
		return p.User, p.Group
	}
	if _, err := user.Lookup(fallbackUser); err == nil && os.Geteuid() == 0 {
		return fallbackUser, ""
	}
	return "", ""
}

// become looks user and group up.
func (prog *Program) become(name, group string) error {
	prog.uid, prog.gid = uint32(os.Geteuid()), uint32(os.Getegid())
	if name == "" {
		return nil
	}
	u, err := lookupUser(name)
	if err != nil {
		return err
	}
	if prog.uid, err = number(u.Uid); err != nil {
		return err
	}
	if prog.gid, err = groupOf(u, group); err != nil {
		return err
	}
	if os.Geteuid() != 0 && (int(prog.uid) != os.Geteuid() || int(prog.gid) != os.Getegid()) {
		return fmt.Errorf("user %s: %w", name, ErrPrivilege)
	}
	return nil
}

// lookupUser finds a user by name or by number.
func lookupUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err == nil {
		return u, nil
	}
	if byID, idErr := user.LookupId(name); idErr == nil {
		return byID, nil
	}
	return nil, err
}

func groupOf(u *user.User, group string) (uint32, error) {
	if group == "" {
		return number(u.Gid)
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		if byID, idErr := user.LookupGroupId(group); idErr == nil {
			return number(byID.Gid)
		}
		return 0, err
	}
	return number(g.Gid)
}

func number(id string) (uint32, error) {
	n, err := strconv.ParseUint(id, 10, 32)
	return uint32(n), err
}

// find resolves the first word: a path, or a name on the search path. A word
// that starts with < asks whether the file can be read.
func (prog *Program) find() error {
	name := prog.args[0]
	if file, ok := strings.CutPrefix(name, "<"); ok {
		prog.path, prog.readable = strings.TrimSpace(file), true
		if prog.path == "" && len(prog.args) > 1 {
			prog.path = prog.args[1]
		}
		return nil
	}
	found, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return fmt.Errorf("%w: %v", ErrNotFound, errors.Unwrap(err))
	}
	if found, err = filepath.Abs(found); err != nil {
		return fmt.Errorf("%w: %v", ErrNotFound, err)
	}
	if prog.path, err = filepath.EvalSymlinks(found); err != nil {
		return fmt.Errorf("%w: %v", ErrNotFound, err)
	}
	return nil
}
