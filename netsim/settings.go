package netsim

// hostSettings are what sysctl changes.
type hostSettings struct {
	all, def           interfaceSettings
	forward4, forward6 bool
	ttl                uint8
	ignoreEcho         bool
}

// interfaceSettings are net.ipv4.conf.IF.*.
type interfaceSettings struct {
	arpIgnore   int
	arpAnnounce int
	acceptLocal bool
	noARP       bool // ip link set IF arp off
}

func defaultSettings() hostSettings { return hostSettings{ttl: 64} }
