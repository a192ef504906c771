package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"usvs/api"
	"usvs/ipvsabi/seccomp"
)

func newExecCmd() *cobra.Command {
	var (
		start string
		files bool
	)
	cmd := &cobra.Command{
		Use:   "exec [flags] [--] COMMAND [ARGUMENT]...",
		Short: "Run an unmodified IPVS program (ipvsadm, keepalived, ...) against the director",
		Long: `Run a program, and all that it starts, so that what it asks of the kernel's IPVS
is answered by the director of its network namespace. The program is the one of
the distribution; nothing is loaded into it.

  usvs exec -- ipvsadm -Ln
  usvs exec -- keepalived --dont-fork --log-console
  usvs exec --start "-i eth0" -- keepalived --dont-fork --log-console

It stays until the last process of the program has ended, also of one that
becomes a daemon, and ends as the program did. Signals are passed on.

It needs Linux 5.19 or newer. Without CAP_SYS_ADMIN the program cannot gain
privileges by exec (no_new_privs), so that sudo does not work in it.`,
		Args: someWords("program"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExec(start, cmd.Flags().Changed("start"), files, args)
		},
	}
	fl := cmd.Flags()
	fl.SetInterspersed(false)
	fl.StringVar(&start, "start", "", "start usvs run --own host with these `FLAGS`, separated by blanks, and end it at the end")
	fl.BoolVar(&files, "files", true, "answer for /proc/net/ip_vs* and /proc/sys/net/ipv4/vs/* too")
	return cmd
}

// nestedEnv marks the programs that run under `usvs exec`.
const nestedEnv = "USVS_EXEC"

func runExec(flags string, start, files bool, args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return notExecuted(err)
	}
	cfg := seccomp.Config{Connect: seccomp.Connect(controlAddress), Say: sayExec, Files: files}
	if start {
		if cfg.Companion, err = startDirector(strings.Fields(flags)); err != nil {
			return notExecuted(err)
		}
		defer cfg.Companion.Stop()
	}
	guest, err := seccomp.Start(cfg, path, args, append(os.Environ(), nestedEnv+"=1"))
	if errors.Is(err, seccomp.ErrNested) && os.Getenv(nestedEnv) != "" && !start {
		err = syscall.Exec(path, args, os.Environ()) // the outer one serves it too
	}
	if err != nil {
		return notExecuted(err)
	}
	status := guest.Wait()
	if start && status == 0 && failed(cfg.Companion) {
		return exitStatus(1)
	}
	cfg.Companion.Stop()
	seccomp.EndAs(status)
	return nil
}

// failed reports whether the director ended before the program did, and not
// because it was asked to.
func failed(director *seccomp.Companion) bool {
	status, ended := director.Ended()
	return ended && status != 0
}

// startTimeout is how long the director may take until it answers.
const startTimeout = 30 * time.Second

// startDirector starts `usvs run` and waits until it answers.
func startDirector(flags []string) (*seccomp.Companion, error) {
	client := api.Dial(controlAddress)
	defer client.Close()
	switch _, err := client.Info(); {
	case err == nil:
		return nil, errors.New("--start: a director runs here already; leave --start out to use it")
	case !errors.Is(err, api.ErrNoDirector):
		return nil, fmt.Errorf("--start: %w", err)
	}
	argv := append([]string{"usvs", "--control", controlAddress, "run", "--own", "host"}, flags...)
	director, err := seccomp.StartCompanion("/proc/self/exe", argv, os.Environ())
	if err != nil {
		return nil, fmt.Errorf("--start: %w", err)
	}
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := client.Info(); err == nil {
			return director, nil
		}
		if _, ended := director.Ended(); ended {
			return nil, errors.New("--start: the director did not start")
		}
	}
	director.Stop()
	return nil, fmt.Errorf("--start: the director does not answer on %s", controlAddress)
}

// The exit statuses of a shell for a command that it cannot execute.
const (
	statusNotExecutable = 126
	statusNotFound      = 127
)

// notExecuted is the end without the program having run.
func notExecuted(err error) error {
	var missing *exec.Error
	if errors.As(err, &missing) {
		err = fmt.Errorf("%s: %w", missing.Name, missing.Err)
	}
	sayExec(err.Error())
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return exitStatus(statusNotFound)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC):
		return exitStatus(statusNotExecutable)
	}
	return exitStatus(1)
}

// sayExec tells the user something on behalf of the wrapper.
func sayExec(message string) { fmt.Fprintln(os.Stderr, "usvs exec:", message) }
