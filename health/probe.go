package health

import (
	"cmp"
	"net/netip"
	"time"

	"usvs/ipvs"
)

// CheckID names one attempt. Every attempt has another; zero names none.
type CheckID uint64

// Kind is the type of a check.
type Kind uint8

// The types of checks.
const (
	TCP Kind = iota
	HTTP
	SSL
	SMTP
	DNS
	Misc
	UDP
	Ping
	File
	BFD
)

var kindNames = [...]string{
	TCP: "TCP_CHECK", HTTP: "HTTP_GET", SSL: "SSL_GET", SMTP: "SMTP_CHECK", DNS: "DNS_CHECK",
	Misc: "MISC_CHECK", UDP: "UDP_CHECK", Ping: "PING_CHECK", File: "FILE_CHECK", BFD: "BFD_CHECK",
}

// String is the name of the check's block in keepalived.conf.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Watch reports whether an attempt of this type never ends by itself: after
// Effects.Probe, Monitor.Result is called whenever there is something new,
// first with what is so at the time, until Effects.Cancel.
func (k Kind) Watch() bool { return k == File || k == BFD }

// Probe is what one attempt looks at: everything that is to be known to make
// it. It must not be changed by who makes the attempt.
type Probe struct {
	Kind Kind
	// Server and Service are their names as messages have them.
	Server, Service string

	// Target is the server's address and port, or connect_ip and connect_port.
	Target netip.AddrPort
	// Bind is the address and port to send from; what is zero is any.
	Bind      netip.AddrPort
	Interface string // bind_if
	Mark      uint32 // fwmark of the packets sent
	// Timeout is connect_timeout, which holds for every step of an attempt by
	// itself: to connect, to write, each time something is read. Of Misc it is
	// misc_timeout.
	Timeout time.Duration

	HTTP   *HTTPRequest // HTTP, SSL
	DNS    *DNSQuestion
	UDP    *UDPExchange
	Helo   string  // SMTP: the argument of HELO
	Script *Script // Misc
	Name   string  // File: the file's path; BFD: the session

	// Path is which way packets take to the server. With ViaVIP they go as a
	// client's would, to Via.Service, and Target is not used.
	Path Path
	Via  Via
}

// Path is the way packets of an attempt take to the server.
type Path uint8

// The ways to a server.
const (
	// Direct is to the server's own address, as keepalived does it.
	Direct Path = iota
	// ViaVIP is how a client's packets go: to the virtual address, forwarded to
	// this server by the service's method. keepalived does not have it.
	ViaVIP
)

// String is the argument of check_path.
func (p Path) String() string {
	if p == ViaVIP {
		return "vip"
	}
	return "direct"
}

// Via is the way of a ViaVIP attempt: which server of which service the
// director is to forward to.
type Via struct {
	Service ipvs.ServiceID // has an address
	Server  ipvs.ServerID
	Spec    ipvs.ServerSpec
}

// VIP is where packets go that the director forwards.
func (v *Via) VIP() netip.AddrPort {
	return netip.AddrPortFrom(v.Service.Addr, cmp.Or(v.Service.Port, v.Server.Port))
}

// RIP is the server's own address, and the port there.
func (v *Via) RIP() netip.AddrPort {
	return netip.AddrPortFrom(v.Server.Addr, cmp.Or(v.Server.Port, v.Service.Port))
}

// Forwarded reports whether clients' packets go another way than those to the
// server's own address: masquerading changes nothing but addresses.
func (v *Via) Forwarded() bool {
	return v.Spec.Method == ipvs.DirectRoute || v.Spec.Method == ipvs.Tunnel
}

// HTTPRequest is what HTTP_GET and SSL_GET ask for.
type HTTPRequest struct {
	URL      URL
	Protocol string // 1.0, 1.0C or 1.1
	SNI      bool   // enable_sni
	// ServerName is the name for SNI; empty: the URL's Virtualhost.
	ServerName string
	TLS        *TLS // the block SSL, or nil
}

// URL is a page that has to be there.
type URL struct {
	Path        string
	Virtualhost string // the header Host; empty: the target
	Digest      string // MD5 of the body in hexadecimal, or empty
	Statuses    []StatusRange
	Regex       string
	RegexNot    bool
}

// StatusRange is one or more HTTP status codes.
type StatusRange struct{ First, Last int }

// TLS is the client's side of SSL_GET: names of files, and the key's password.
type TLS struct{ Password, CA, Certificate, Key string }

// DNSQuestion is what DNS_CHECK asks.
type DNSQuestion struct{ Type, Name string }

// UDPExchange is what UDP_CHECK sends and expects.
type UDPExchange struct {
	Payload []byte // nil: any 32 bytes
	// RequireReply asks for an answer of MinReply to MaxReply bytes, which
	// begins with Reply where ReplyMask has ones.
	RequireReply       bool
	Reply, ReplyMask   []byte
	MinReply, MaxReply int
}

// Outcome is how an attempt ended.
type Outcome uint8

// How attempts end.
const (
	// Success: the server does what the check asks for.
	Success Outcome = iota
	// Failure: it does not.
	Failure
	// LocalError is no result: the attempt could not be made, by no fault of
	// the server. It is made again after delay_loop.
	LocalError
)

// String is the outcome in a word.
func (o Outcome) String() string {
	return [...]string{"success", "failure", "local error"}[min(o, LocalError)]
}

// Result is what came of an attempt.
type Result struct {
	Outcome Outcome
	// Reason is a few words for the log why it was no success, without the
	// server's name: of TCP, UDP and Ping "timeout" or "failed", of HTTP what
	// stands before "server" in keepalived's lines ("Timeout connecting", "HTTP
	// status code error to"), of SMTP and DNS keepalived's words, of a script
	// "timed out" if that was it.
	Reason string
	// Status is a script's exit status (Misc), a file's value (File), 0 unless
	// the session is up (BFD), or the HTTP status.
	Status int
	// Signal is what ended a script, or 0.
	Signal int
	// Cause says more of a failure than keepalived would. It is in the Status,
	// and of checks by way of the VIP in the log, too. The Monitor itself finds
	// out why a server fails by way of the VIP only.
	Cause string
}
