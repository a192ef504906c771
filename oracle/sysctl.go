package oracle

import (
	"fmt"
	"io"
	"strings"
)

const sysctlPrefix = "net.ipv4.vs."

// sysctl carries out a sysctl command. Keys outside net.ipv4.vs are the
// recorded kernel's own affair.
func (w *world) sysctl(words []string, stdout io.Writer) error {
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			continue
		}
		key, value, set := strings.Cut(word, "=")
		name, ours := strings.CutPrefix(key, sysctlPrefix)
		switch {
		case !ours:
			continue
		case set:
			if err := w.sysctls.SetSysctl(name, value); err != nil {
				return err
			}
			w.ctl.SetSysctls(w.sysctls)
			continue
		}
		v, err := w.sysctls.Sysctl(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s = %s\n", key, v)
	}
	return nil
}
