package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
)

// Part is a measurement that needs a process of its own, because it measures
// the process. It takes and gives JSON.
type Part func(ctx context.Context, in []byte) (out any, err error)

// CallPart has a process of Binary's do the part called name and waits for it.
// in is what the part is told, out where its answer goes.
func (o *Options) CallPart(ctx context.Context, name string, in, out any) error {
	told, err := json.Marshal(in)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, o.Binary, "bench", "part", name, string(told))
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	answer, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s bench part %s: %w: %s", o.Binary, name, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return json.Unmarshal(answer, out)
}

// ServePart is the other end: it does one of parts, args being its name and
// what it is told.
func ServePart(ctx context.Context, parts map[string]Part, args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("want a part and what it is told, not %q", args)
	}
	part, ok := parts[args[0]]
	if !ok {
		return fmt.Errorf("no part %q", args[0])
	}
	out, err := part(ctx, []byte(args[1]))
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(out)
}
