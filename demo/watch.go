package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"usvs/api"
)

// Watch prints what becomes of the next frames at the director that answers on
// the control socket, one JSON object per line.
func Watch(ctx context.Context, control string, frames int, w io.Writer) error {
	client := api.Dial(control)
	defer client.Close()
	return client.Trace(ctx, frames, func(ev json.RawMessage) error {
		_, err := fmt.Fprintf(w, "%s\n", ev)
		return err
	})
}
