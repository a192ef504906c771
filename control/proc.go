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

// Apps are the helpers, with how many connections each has.
func (s procSource) Apps() []procnet.App {
	var apps []procnet.App
	for _, h := range s.cfg.Conns.Helpers(s.cfg.Clock.Now()) {
		apps = append(apps, procnet.App{Protocol: ipvs.TCP, Port: h.Port, Uses: h.Conns, Name: "ftp"})
	}
	return apps
}
