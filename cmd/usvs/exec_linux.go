package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"usvs/ipvsabi/seccomp"
)

func newExecCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [flags] [--] COMMAND [ARGUMENT]...",
		Short: "Run an unmodified IPVS program (ipvsadm, keepalived, ...) against the director",
		Long: `Run a program, and all that it starts, so that what it asks of the kernel's IPVS
is answered by the director of its network namespace. The program is the one of
the distribution; nothing is loaded into it.

  usvs exec -- ipvsadm -Ln
  usvs exec -- keepalived --dont-fork --log-console -f keepalived.conf

It stays until the last process of the program has ended, also of one that
becomes a daemon, and ends as the program did. Signals are passed on.

It needs Linux 5.19 or newer. Without CAP_SYS_ADMIN the program cannot gain
privileges by exec (no_new_privs), so that sudo does not work in it.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runExec(args) },
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// nestedEnv marks the programs that run under `usvs exec`.
const nestedEnv = "USVS_EXEC"

func runExec(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return notExecuted(err)
	}
	guest, err := seccomp.Start(seccomp.Config{Connect: seccomp.Connect(controlAddress), Say: sayExec}, path, args, append(os.Environ(), nestedEnv+"=1"))
	switch {
	case errors.Is(err, seccomp.ErrNested) && os.Getenv(nestedEnv) != "":
		return notExecuted(syscall.Exec(path, args, os.Environ()))
	case errors.Is(err, seccomp.ErrNested):
		return fmt.Errorf("exec: %w by somebody else, a container manager perhaps: there can only be one", err)
	case err != nil:
		return notExecuted(err)
	}
	guest.PassSignals()
	seccomp.EndAs(guest.Wait())
	return nil
}

// The exit statuses of a shell for a command that it cannot execute.
const (
	statusNotExecutable = 126
	statusNotFound      = 127
)

// notExecuted is the end without the program having run.
func notExecuted(err error) error {
	fmt.Fprintln(os.Stderr, "usvs exec:", err)
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
