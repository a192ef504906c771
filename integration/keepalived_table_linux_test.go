package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// tableConf has one of everything that keepalived tells IPVS.
const tableConf = `
global_defs {
	lvs_flush
	lvs_timeouts tcp 1000 tcpfin 100 udp 200
}
virtual_server 10.10.100.107 80 {
	lb_algo wlc
	lb_kind NAT
	persistence_timeout 600
	persistence_granularity 255.255.255.0
	protocol TCP
	real_server 10.10.100.111 8080 {
		weight 3
		uthreshold 100
		lthreshold 50
	}
	real_server 10.10.100.112 80 {
		weight 0
		lvs_method DR
	}
	real_server 10.10.100.113 80 {
		lvs_method TUN type gue port 6080
	}
	real_server 10.10.100.114 80 {
		lvs_method TUN type gre
	}
}
virtual_server 10.10.100.107 53 {
	lb_algo sh
	sh-port
	sh-fallback
	lb_kind DR
	protocol UDP
	ops
	real_server 10.10.100.111 53 {
	}
}
virtual_server 10.10.100.107 5060 {
	lb_algo rr
	lb_kind NAT
	persistence_timeout 60
	persistence_engine sip
	protocol UDP
	real_server 10.10.100.111 5060 {
	}
}
virtual_server 2001:db8::107 9 {
	lb_algo mh
	mh-port
	lb_kind DR
	persistence_timeout 300
	persistence_granularity 64
	protocol SCTP
	real_server 2001:db8::111 9 {
	}
}
virtual_server fwmark 7 {
	lb_algo sed
	lb_kind TUN
	protocol TCP
	ip_family inet
	real_server 10.10.100.111 {
		weight 2
	}
}
`

// tableSaved is what the table then is, as ipvsadm saves it.
const tableSaved = `-A -t 10.10.100.107:80 -s wlc -p 600 -M 255.255.255.0
-a -t 10.10.100.107:80 -r 10.10.100.111:8080 -m -w 3
-a -t 10.10.100.107:80 -r 10.10.100.112:80 -g -w 0
-a -t 10.10.100.107:80 -r 10.10.100.113:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.10.100.107:80 -r 10.10.100.114:80 -i -w 1 --tun-type gre --tun-nocsum
-A -u 10.10.100.107:53 -s sh -o -b sh-fallback,sh-port
-a -u 10.10.100.107:53 -r 10.10.100.111:53 -g -w 1
-A -u 10.10.100.107:5060 -s rr -p 60 --pe sip
-a -u 10.10.100.107:5060 -r 10.10.100.111:5060 -m -w 1
-A --sctp-service [2001:db8::107]:9 -s mh -p 300 -M 64 -b mh-port
-a --sctp-service [2001:db8::107]:9 -r [2001:db8::111]:9 -g -w 1
-A -f 7 -s sed
-a -f 7 -r 10.10.100.111:0 -i -w 2 --tun-type ipip
`

// What keepalived can say about services and servers arrives as it was meant.
func TestKeepalivedTable(t *testing.T) {
	runKeepalived(t, func(t *testing.T, lab *netnstest.Lab) {
		s := newSite(t, lab, "lan0")
		s.director = s.machine("director", "lan0 10.10.100.1/24 2001:db8::1/64")
		d := startDirector(t, s.director, "-i eth0 --own host")
		d.ipvsadm("-A -t 10.10.100.200:80 -s rr") // lvs_flush
		k := startKeepalived(t, s.director, tableConf)
		eventually(t, "the table is complete", func() bool { return strings.Contains(d.ipvsadm("-Ln"), "FWM  7 sed\n  ->") })
		assert.Equal(t, tableSaved, d.ipvsadm("-S -n"))
		assert.Equal(t, []uint64{100, 50}, table(t, d.ipvsadm("-Ln --thresholds"))["10.10.100.111:8080"][:2])
		assert.Contains(t, d.ipvsadm("-L --timeout"), "1000 100 200")
		require.NoError(t, k.proc.Stop())
		assert.Empty(t, d.ipvsadm("-S -n"))
	})
}
