package procnet

import (
	"bufio"
	"fmt"

	"usvs/ipvs"
)

func writeConns(w *bufio.Writer, s Source) error {
	w.WriteString("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n")
	return s.Connections(func(c *ipvs.ConnEntry) bool {
		writeEndpoints(w, c)
		fmt.Fprintf(w, "%7d", max(c.Expires, 0))
		if c.PEName != "" {
			fmt.Fprintf(w, " %s %s", c.PEName, c.PEData)
		}
		return w.WriteByte('\n') == nil
	})
}

func writeSync(w *bufio.Writer, s Source) error {
	w.WriteString("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n")
	return s.Connections(func(c *ipvs.ConnEntry) bool {
		origin := "LOCAL"
		if c.Synced {
			origin = "SYNC"
		}
		writeEndpoints(w, c)
		_, err := fmt.Fprintf(w, "%-6s %7d\n", origin, max(c.Expires, 0))
		return err == nil
	})
}

// writeEndpoints writes what both listings of connections begin with.
func writeEndpoints(w *bufio.Writer, c *ipvs.ConnEntry) {
	fmt.Fprintf(w, "%-3s %s %04X %s %04X %s %04X %-11s ", c.Protocol,
		hexAddr(c.Client.Addr()), c.Client.Port(), hexAddr(c.Virtual.Addr()), c.Virtual.Port(),
		hexAddr(c.Real.Addr()), c.Real.Port(), c.State)
}
