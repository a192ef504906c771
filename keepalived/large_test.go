package keepalived

import (
	"fmt"
	"strings"
	"testing"
)

// large is a configuration of virtual servers with ten servers each.
func large(services int) string {
	var b strings.Builder
	b.WriteString("global_defs {\n\trouter_id large\n}\n")
	for i := range services {
		fmt.Fprintf(&b, "virtual_server 10.%d.%d.1 80 {\n\tdelay_loop 10\n\tlb_algo wlc\n\tlb_kind NAT\n\tprotocol TCP\n", 100+i/250, i%250)
		for j := range 10 {
			fmt.Fprintf(&b, "\treal_server 10.%d.%d.%d 80 {\n\t\tweight 1\n\t\tTCP_CHECK {\n\t\t\tconnect_timeout 3\n\t\t}\n\t}\n", i/250, i%250, 10+j)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// BenchmarkParse reads 2,000 virtual servers with ten servers each.
func BenchmarkParse(b *testing.B) {
	text := large(2000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, report := parseText(text); report.Status() != 0 {
			b.Fatal(explainReport(report))
		}
	}
}
