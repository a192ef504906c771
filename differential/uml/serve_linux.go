package uml

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel's command line tells the program inside.
const (
	shareEnv   = "USVS_UML_SHARE"
	modulesEnv = "USVS_UML_MODULES"
)

// Inside reports whether this process is the first of a machine.
func Inside() bool { return os.Getpid() == 1 && os.Getenv(shareEnv) != "" }

// Guest is the inner end of a Machine.
type Guest struct {
	line  *os.File
	in    *bufio.Reader
	share string
}

// Enter sets up the machine that this process, its first, is in: the usual
// mounts, the modules named, and the way out.
func Enter(modules ...string) (*Guest, error) {
	os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	os.Setenv("LC_ALL", "C")
	os.Setenv("MODPROBE_OPTIONS", "-d "+moduleRoot) // whoever calls it
	g := &Guest{share: "/run/share"}
	if err := g.mounts(); err != nil {
		return nil, err
	}
	if err := loadModules(modules); err != nil {
		return nil, err
	}
	return g, g.open()
}

// moduleRoot is where modprobe -d finds the kernel's modules.
const moduleRoot = "/run/kernel"

func (g *Guest) mounts() error {
	for _, m := range []struct{ source, target, kind, data string }{
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"tmpfs", "/tmp", "tmpfs", ""},
		{"tmpfs", "/run", "tmpfs", ""},
		{"none", g.share, "hostfs", os.Getenv(shareEnv)},
		{"none", moduleRoot + "/lib/modules", "hostfs", os.Getenv(modulesEnv)},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

// loadModules loads modules and what they need. The kernel is told to look for
// no others by itself: the machine outside has modules of another kernel.
func loadModules(names []string) error {
	if err := os.WriteFile("/proc/sys/kernel/modprobe", []byte("/bin/false"), 0); err != nil {
		return err
	}
	out, err := exec.Command("modprobe", append([]string{"-d", moduleRoot, "-a"}, names...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("modprobe: %w\n%s", err, out)
	}
	return nil
}

// open opens the serial line, raw: no echo, no line editing, no signals.
func (g *Guest) open() error {
	f, err := os.OpenFile("/dev/ttyS0", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return err
	}
	g.line, g.in = f, bufio.NewReader(f)
	return nil
}

// Sleep lets time pass in this machine, quickly in the outer world. Nothing else
// may run meanwhile.
func (g *Guest) Sleep(d time.Duration) error {
	if _, err := fmt.Fprintf(g.line, "sleep %v\n", d); err != nil {
		return err
	}
	answer, err := g.in.ReadString('\n')
	if err == nil && strings.TrimSpace(answer) != "awake" {
		err = fmt.Errorf("asked to sleep, answered %q", answer)
	}
	return err
}

// Serve answers jobs until the machine is closed.
func (g *Guest) Serve(answer func(job []byte) []byte) error {
	if _, err := g.line.WriteString("ready\n"); err != nil {
		return err
	}
	for {
		name, err := g.in.ReadString('\n')
		if err != nil {
			return err
		}
		name = strings.TrimSpace(name)
		job, err := os.ReadFile(filepath.Join(g.share, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(g.share, name+".answer"), answer(job), 0o600); err != nil {
			return err
		}
		if _, err := g.line.WriteString("done " + name + "\n"); err != nil {
			return err
		}
	}
}
