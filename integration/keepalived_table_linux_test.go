package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// What keepalived can say about services and servers arrives as it was meant.
func TestKeepalivedTable(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newSite(t, lab, "lan0")
		s.director = s.machine("director", "lan0 10.10.100.1/24 2001:db8::1/64")
		d := startDirector(t, s.director, "-i eth0 --own host")
		d.ipvsadm("-A -t 10.10.100.200:80 -s rr") // lvs_flush
		conf, err := os.ReadFile("../keepalived/wanted/testdata/table.conf")
		require.NoError(t, err)
		saved, err := os.ReadFile("../keepalived/wanted/testdata/table.saved")
		require.NoError(t, err)
		k := startKeepalived(t, s.director, string(conf))
		eventually(t, "the table is complete", func() bool { return strings.Contains(d.ipvsadm("-Ln"), "FWM  7 sed\n  ->") })
		assert.Equal(t, string(saved), d.ipvsadm("-S -n"))
		assert.Equal(t, []uint64{100, 50}, table(t, d.ipvsadm("-Ln --thresholds"))["10.10.100.111:8080"][:2])
		assert.Contains(t, d.ipvsadm("-L --timeout"), "1000 100 200")
		require.NoError(t, k.proc.Stop())
		assert.Empty(t, d.ipvsadm("-S -n"))
	})
}
