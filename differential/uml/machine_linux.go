package uml

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Machine is a running kernel. One goroutine may use it.
type Machine struct {
	dir   string // shared with the guest
	cmd   *exec.Cmd
	clock *clock
	line  *serial
	jobs  int
}

// serial is the host's end of the serial line.
type serial struct {
	in    *os.File // from the guest
	out   *os.File // to the guest
	lines chan string
}

// Options of a machine.
type Options struct {
	Install Install
	Dir     string   // an empty directory for the machine's files
	Init    []string // the program inside, an absolute path, and its arguments
	Memory  string   // as mem= takes it; 256M if empty
}

// bootTime is the most that starting may take; jobTime, that a job may.
const (
	bootTime = 60 * time.Second
	jobTime  = 120 * time.Second
)

// Boot starts a kernel and waits until the program inside calls Serve.
func Boot(o Options) (*Machine, error) {
	img, err := prepare(o.Install, o.Dir)
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: o.Dir}
	if err := m.start(o, img); err != nil {
		return nil, err
	}
	if m.clock, err = newClock(m.cmd.Process, fmt.Sprintf("/proc/%d/mem", m.cmd.Process.Pid), img.ahead); err != nil {
		m.Close()
		return nil, err
	}
	if err := m.expect("ready", bootTime); err != nil {
		log, _ := os.ReadFile(filepath.Join(o.Dir, "console"))
		m.Close()
		return nil, fmt.Errorf("the kernel did not start: %w\n%s", err, log)
	}
	return m, nil
}

func (m *Machine) start(o Options, img image) error {
	console, err := os.Create(filepath.Join(o.Dir, "console"))
	if err != nil {
		return err
	}
	defer console.Close()
	fromGuest, guestOut, err := os.Pipe()
	if err != nil {
		return err
	}
	guestIn, toGuest, err := os.Pipe()
	if err != nil {
		return err
	}
	defer guestOut.Close()
	defer guestIn.Close()
	mem := o.Memory
	if mem == "" {
		mem = "256M"
	}
	command := exec.Command(img.path, "mem="+mem, "rootfstype=hostfs", "ro", "quiet", "init="+o.Init[0],
		"umid="+filepath.Base(o.Dir), "uml_dir="+o.Dir+"/", "con=null", "con0=null,fd:1", "ssl=null", "ssl0=fd:3,fd:4",
		shareEnv+"="+o.Dir, modulesEnv+"="+o.Install.Modules, "--")
	command.Args = append(command.Args, o.Init[1:]...)
	command.Env = []string{} // without TMPDIR the guest's memory is in /dev/shm
	command.Stdout, command.Stderr = console, console
	command.ExtraFiles = []*os.File{guestIn, guestOut} // 3, 4
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if m.cmd, err = startWritten(command); err != nil {
		return err
	}
	m.line = &serial{in: fromGuest, out: toGuest, lines: make(chan string)}
	go m.line.read()
	return nil
}

// startWritten starts a program whose file was just written. Whoever forked in
// between has it open until it executes something else.
func startWritten(c *exec.Cmd) (*exec.Cmd, error) {
	const tries, pause = 100, 10 * time.Millisecond
	for i := 1; ; i++ {
		again := &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Stdout: c.Stdout, Stderr: c.Stderr, ExtraFiles: c.ExtraFiles, SysProcAttr: c.SysProcAttr}
		err := again.Start()
		if !errors.Is(err, syscall.ETXTBSY) || i == tries {
			return again, err
		}
		time.Sleep(pause)
	}
}

// read passes lines on until the guest has ended.
func (s *serial) read() {
	defer close(s.lines)
	sc := bufio.NewScanner(s.in)
	for sc.Scan() {
		s.lines <- strings.TrimSpace(sc.Text())
	}
}

// ErrStuck says that the guest did not answer in time.
var ErrStuck = errors.New("the guest does not answer")

// expect waits for a line, and serves the guest's wishes for time until then.
func (m *Machine) expect(want string, limit time.Duration) error {
	deadline := time.After(limit)
	for {
		select {
		case got, ok := <-m.line.lines:
			if !ok {
				return errors.New("the guest has ended")
			}
			if got == want {
				return nil
			}
			if err := m.serve(got); err != nil {
				return err
			}
		case <-deadline:
			return ErrStuck
		}
	}
}

// serve lets time pass in the guest if that is what the line asks.
func (m *Machine) serve(line string) error {
	asked, ok := strings.CutPrefix(line, "sleep ")
	if !ok {
		return nil // the line's echo or noise of the boot
	}
	d, err := time.ParseDuration(asked)
	if err != nil {
		return err
	}
	if err := m.clock.advance(d); err != nil {
		return err
	}
	_, err = m.line.out.WriteString("awake\n")
	return err
}

// Run gives the guest a job and returns what it answers.
func (m *Machine) Run(job []byte) ([]byte, error) {
	m.jobs++
	name := fmt.Sprintf("job%d", m.jobs)
	if err := os.WriteFile(filepath.Join(m.dir, name), job, 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(filepath.Join(m.dir, name))
	if _, err := m.line.out.WriteString(name + "\n"); err != nil {
		return nil, err
	}
	if err := m.expect("done "+name, jobTime); err != nil {
		return nil, err
	}
	answer := filepath.Join(m.dir, name+".answer")
	defer os.Remove(answer)
	return os.ReadFile(answer)
}

// Close ends the machine at once.
func (m *Machine) Close() {
	_ = syscall.Kill(-m.cmd.Process.Pid, syscall.SIGKILL)
	m.line.out.Close()
	for range m.line.lines { // until the guest's end of the line is gone
	}
	m.line.in.Close()
	_ = m.cmd.Wait()
	if m.clock != nil {
		m.clock.close()
	}
}
