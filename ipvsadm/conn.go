package ipvsadm

import (
	"bufio"
	"fmt"

	"usvs/ipvs"
)

// connRow is a row of the connection listing; connEngineRow one that shows
// persistence engine data. The titles have the same columns, but not the same
// widths.
const (
	connRow       = "%-3s %-6s %-11s %-18s %-18s %s\n"
	connEngineRow = "%-3s %-6s %-11s %-18s %-18s %-16s %-18s %s\n"

	connTitle       = "pro expire state       source             virtual            destination\n"
	connEngineTitle = "pro expire state       source             virtual            destination        pe name          pe_data\n"
)

// listConnections executes -L -c. Rows come in the table's order and are
// written as they come: the table may be large.
func (s *session) listConnections(o optionSet) *verdict {
	l := connListing{
		w:       s.out,
		names:   newNames(s.resolver, o.has(optNumeric)),
		engines: o.has(optPersistentConn),
	}
	err := s.backend.Connections(func(c *ipvs.ConnEntry) bool {
		l.title()
		l.row(c)
		return true
	})
	if err != nil {
		return readFailed(cmdList, err)
	}
	l.title()
	return nil
}

type connListing struct {
	w       *bufio.Writer
	names   names
	engines bool
	titled  bool
}

// title is written once, and not if there is nothing but an error to report.
func (l *connListing) title() {
	if l.titled {
		return
	}
	l.titled = true
	l.w.WriteString("IPVS connection entries\n")
	if l.engines {
		l.w.WriteString(connEngineTitle)
		return
	}
	l.w.WriteString(connTitle)
}

func (l *connListing) row(c *ipvs.ConnEntry) {
	secs := max(c.Expires, 0)
	expire := fmt.Sprintf("%02d:%02d", secs/60, secs%60)
	client := l.names.endpoint(c.Client.Addr(), c.Client.Port(), c.Protocol)
	virtual := l.names.endpoint(c.Virtual.Addr(), c.Virtual.Port(), c.Protocol)
	server := l.names.endpoint(c.Real.Addr(), c.Real.Port(), c.Protocol)
	if l.engines && c.PEName != "" {
		fmt.Fprintf(l.w, connEngineRow, c.Protocol, expire, c.State, client, virtual, server, c.PEName, c.PEData)
		return
	}
	fmt.Fprintf(l.w, connRow, c.Protocol, expire, c.State, client, virtual, server)
}
