package procnet

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"usvs/ipvs"
)

// Source is the director a file is about.
type Source interface {
	Info() (ipvs.Info, error)
	Services() ([]ipvs.ServiceEntry, error)
	Connections(yield func(*ipvs.ConnEntry) bool) error
	// Totals are the counters over all services as shown, Live those counted
	// since the start, whatever was set to zero since.
	Totals() ipvs.Stats
	Live() ipvs.Stats
	// Apps are the helpers of application protocols.
	Apps() []App
}

// App is a helper bound to a port.
type App struct {
	Protocol ipvs.Protocol
	Port     uint16
	Uses     int
	Name     string
}

// Dir is the directory that the files are in.
const Dir = "/proc/net"

var files = map[string]func(*bufio.Writer, Source) error{
	"ip_vs":              writeServices,
	"ip_vs_app":          writeApps,
	"ip_vs_conn":         writeConns,
	"ip_vs_conn_sync":    writeSync,
	"ip_vs_stats":        writeStats,
	"ip_vs_stats_percpu": writePerCPU,
}

// Names lists the files, sorted.
func Names() []string {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Write writes the file of that name. The error wraps ipvs.ErrNoEntry if there
// is none.
func Write(w io.Writer, name string, s Source) error {
	write, ok := files[name]
	if !ok {
		return fmt.Errorf("%s/%s: %w", Dir, name, ipvs.ErrNoEntry)
	}
	b := bufio.NewWriter(w)
	if err := write(b, s); err != nil {
		return err
	}
	return b.Flush()
}

const statsFormat = "%8X %8X %8X %16X %16X\n"

func writeStats(w *bufio.Writer, s Source) error {
	t := s.Totals()
	w.WriteString("   Total Incoming Outgoing         Incoming         Outgoing\n" +
		"   Conns  Packets  Packets            Bytes            Bytes\n")
	fmt.Fprintf(w, statsFormat+"\n", t.Conns, t.InPkts, t.OutPkts, t.InBytes, t.OutBytes)
	w.WriteString(" Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n")
	fmt.Fprintf(w, statsFormat, t.CPS, t.InPPS, t.OutPPS, t.InBPS, t.OutBPS)
	return nil
}

// writePerCPU shows one CPU: the workers of a director are not bound to any.
func writePerCPU(w *bufio.Writer, s Source) error {
	t, l := s.Totals(), s.Live()
	w.WriteString("       Total Incoming Outgoing         Incoming         Outgoing\n" +
		"CPU    Conns  Packets  Packets            Bytes            Bytes\n")
	fmt.Fprintf(w, "%3X "+statsFormat, 0, l.Conns, l.InPkts, l.OutPkts, l.InBytes, l.OutBytes)
	fmt.Fprintf(w, "  ~ "+statsFormat+"\n", t.Conns, t.InPkts, t.OutPkts, t.InBytes, t.OutBytes)
	w.WriteString("     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n")
	fmt.Fprintf(w, "    "+statsFormat, t.CPS, t.InPPS, t.OutPPS, t.InBPS, t.OutBPS)
	return nil
}

func writeApps(w *bufio.Writer, s Source) error {
	w.WriteString("prot port    usecnt name\n")
	for _, a := range s.Apps() {
		fmt.Fprintf(w, "%-3s  %-7d %-6d %-17s\n", a.Protocol, a.Port, a.Uses, a.Name)
	}
	return nil
}
