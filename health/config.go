package health

import (
	"time"

	"usvs/ipvs"
)

// Config is everything a Monitor looks after. Whoever makes one has filled in
// all defaults, and does not change it once it was handed over.
type Config struct {
	VirtualServers []*VirtualServer

	// RouterID stands in front of the subjects of mail.
	RouterID string
	// NoCheckerEmails limits mail to checks that made their server change.
	NoCheckerEmails bool
	// InitNotifies is rs_init_notifies: servers added at the start are notified.
	InitNotifies bool
	// OnStop is what becomes of the table at Stop.
	OnStop StopMode
}

// StopMode says what Stop does to the table.
type StopMode uint8

// What Stop may do.
const (
	// StopServers deletes every server, then its service.
	StopServers StopMode = iota
	// StopServices deletes the services only (lvs_flush_on_stop VS).
	StopServices
	// StopNothing leaves the table to the caller, who flushes it
	// (lvs_flush_on_stop) or keeps it (keepalived's option -I).
	StopNothing
)

// VirtualServer is a virtual_server.
type VirtualServer struct {
	// Group is the virtual_server_group's name, or empty.
	Group string
	// Protocol is 0 for firewall marks.
	Protocol ipvs.Protocol
	// Services are what stands for it in IPVS: one, or those of the group.
	Services []Service
	Servers  []*Server
	// Sorry is the sorry_server, or nil.
	Sorry *SorryServer

	Quorum, Hysteresis int
	Alpha, Omega       bool
	// HASuspend runs checks only while the host has the VIP, or one of the
	// group's, of which Monitor.SetAddress tells.
	HASuspend            bool
	SMTPAlert            bool
	QuorumUp, QuorumDown *Script
}

// Service is a service in IPVS.
type Service struct {
	ID   ipvs.ServiceID
	Spec ipvs.ServiceSpec
}

// Server is a real_server.
type Server struct {
	// ID identifies the server within its virtual server.
	ID ipvs.ServerID
	// Targets are what it is called in each of the virtual server's Services,
	// in their order; nil if that is ID in all of them.
	Targets []ipvs.ServerID
	// Spec has the configured weight.
	Spec ipvs.ServerSpec

	Inhibit              bool // inhibit_on_failure
	SMTPAlert            bool
	NotifyUp, NotifyDown *Script
	Checks               []*Check
}

// SorryServer is a sorry_server.
type SorryServer struct {
	ID      ipvs.ServerID
	Targets []ipvs.ServerID // as of Server
	Spec    ipvs.ServerSpec // keepalived's weight is 1
	Inhibit bool            // sorry_server_inhibit
}

// Script is a command with its arguments and the user it runs as.
type Script struct {
	Args        []string
	User, Group string
}

// Check is a checker of a server: what one attempt is, and when attempts are
// made.
type Check struct {
	// Probe is what an attempt looks at. The Monitor fills in Server, Service,
	// Via and, of URLs in turn, HTTP.URL.
	Probe Probe
	// URLs are the pages of HTTP_GET and SSL_GET.
	URLs []URL
	// FastRecovery looks at all pages of a failed server back to back.
	FastRecovery bool

	DelayLoop        time.Duration
	DelayBeforeRetry time.Duration
	Warmup           time.Duration
	// Retry is how many failures in a row are put up with.
	Retry int
	// Alpha takes the server for failed until an attempt has succeeded.
	Alpha          bool
	LogAllFailures bool

	// Dynamic is misc_dynamic: the exit status sets the server's weight.
	Dynamic bool
	// Track is the name of the track_file: FILE_CHECK.
	Track string
	// Weight is what the tracked file's value is multiplied by. Of weight 0,
	// every value but 0 is a failure.
	Weight int
}
