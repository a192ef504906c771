package arp

// Counter names something the cache counts.
type Counter int

// What the cache counts.
const (
	RequestsSent   Counter = iota // ARP requests and neighbour solicitations, probes included
	RepliesSent                   // ARP replies and neighbour advertisements in answer to a question
	Announcements                 // gratuitous ARP, unsolicited advertisements and MLD reports sent
	Learned                       // neighbours created because they asked for us
	Conflicts                     // claims by others to an address of ours
	Failures                      // neighbours that did not answer
	Unreachables                  // frames handed back because their next hop did not answer
	QueueOverflows                // frames pushed out of a neighbour's queue, or beyond QueueBytes
	Evictions                     // neighbours that made room for others
	EvictedFrames                 // frames that waited for those
	NoRoom                        // neighbours not created because none could be evicted
	NoFrame                       // frames not sent because the sink had none left
	NoSource                      // solicitations not sent because the port has no address
	Own                           // own frames heard
	NotForUs                      // frames to another station's MAC
	Tagged                        // frames with a VLAN tag
	ARPMalformed                  // too short, or not Ethernet and IPv4
	ARPBadOp                      // neither request nor reply
	ARPBadSender                  // sender MAC or address no host can have
	NDHopLimit                    // hop limit not 255 (1 for MLD): it came through a router
	NDFragment                    // fragmented (RFC 6980)
	NDChecksum                    // wrong ICMPv6 checksum
	NDMalformed                   // code, length, target, flags or options out of order
	numCounters
)

var counterNames = [numCounters]string{
	"requests sent", "replies sent", "announcements", "learned", "conflicts", "failures",
	"unreachables", "queue overflows", "evictions", "evicted frames", "no room", "no frame",
	"no source address", "own frames", "not for us", "VLAN-tagged", "ARP malformed",
	"ARP bad operation", "ARP bad sender", "ND hop limit", "ND fragment", "ND checksum", "ND malformed",
}

// String names the counter in a few words.
func (k Counter) String() string { return counterNames[k] }

// Counters lists every Counter.
func Counters() []Counter {
	all := make([]Counter, numCounters)
	for i := range all {
		all[i] = Counter(i)
	}
	return all
}

// Count returns what the counter stands at.
func (c *Cache) Count(k Counter) uint64 { return c.counts[k].Load() }

func (c *Cache) count(k Counter) { c.counts[k].Add(1) }
