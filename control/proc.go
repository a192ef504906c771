package control

import (
	"io"

	"usvs/ipvs"
	"usvs/procnet"
)

// WriteProc writes a file of /proc/net, such as ip_vs_stats, as the kernel
// would. procnet.Names lists them.
func (c *Control) WriteProc(w io.Writer, name string) error {
	return procnet.Write(w, name, procSource{c})
}

// procSource shows a Control as the files of /proc do.
type procSource struct{ *Control }

// Live are the counters over all services since the start.
func (s procSource) Live() ipvs.Stats {
	t := read(s.cfg.Totals)
	return ipvs.Stats{Conns: t[conns], InPkts: t[inPkts], OutPkts: t[outPkts], InBytes: t[inBytes], OutBytes: t[outBytes]}
}

// Apps are the helpers: there are none.
func (procSource) Apps() []procnet.App { return nil }
