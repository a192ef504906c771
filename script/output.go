package script

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// outputLimit bounds what is kept of a program's output, in bytes.
const outputLimit = 4096

// pipeSize is how much a pipe holds, in bytes (pipe(7)).
const pipeSize = 64 << 10

// output is what a program writes until it ends. A child that it leaves behind
// and that has its output, too, is not waited for.
type output struct {
	from, to *os.File
	text     []byte        // the beginning; of read until done is closed
	done     chan struct{} // closed when read has ended
}

// capture makes a pipe for what a command will write.
func capture(cmd *exec.Cmd) (*output, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = to, to
	return &output{from: from, to: to, done: make(chan struct{})}, nil
}

// begin reads, now that the program has the other end, or that there is none.
func (o *output) begin() {
	if o != nil {
		o.to.Close()
		go o.read()
	}
}

// read goes on until nobody can write any more, or until its deadline. What the
// program writes has to be read even if it is thrown away: a full pipe would stop
// the program.
func (o *output) read() {
	defer close(o.done)
	for buf := make([]byte, outputLimit); ; {
		n, err := o.from.Read(buf)
		o.keep(buf[:n])
		if err != nil {
			return
		}
	}
}

func (o *output) keep(p []byte) {
	o.text = append(o.text, p[:min(len(p), outputLimit-len(o.text))]...)
}

// end returns the beginning of what was written until now.
func (o *output) end() string {
	if o == nil {
		return ""
	}
	_ = o.from.SetReadDeadline(time.Unix(1, 0))
	<-o.done
	o.rest()
	o.from.Close()
	return strings.TrimSpace(string(o.text))
}

// rest reads what is in the pipe already.
func (o *output) rest() {
	_ = o.from.SetReadDeadline(time.Time{})
	conn, err := o.from.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool {
		buf := make([]byte, pipeSize)
		if n, err := syscall.Read(int(fd), buf); err == nil {
			o.keep(buf[:n])
		}
		return true // without waiting
	})
}
