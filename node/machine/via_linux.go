package machine

import (
	"usvs/clock"
	"usvs/director"
	"usvs/health/path"
	"usvs/health/probe"
	"usvs/health/via"
	"usvs/host"
)

// byVIP is how checks go by way of the VIP: frames out by packet sockets, past
// the host's own stack, which has the VIP itself while the node is master.
type byVIP struct {
	dialer  *via.Dialer
	answers *host.Answers
}

// openVia returns nil for no director.
func openVia(c clock.Clock, d *director.Director, frames *host.Frames) (*byVIP, error) {
	if d == nil {
		return nil, nil
	}
	dialer := via.New(via.Config{Clock: c, Director: d, Send: frames.Send})
	answers, err := host.OpenAnswers(path.FirstPort, dialer.Receive)
	if err != nil {
		dialer.Close()
		return nil, err
	}
	return &byVIP{dialer, answers}, nil
}

// dial is what probes connect with; nil for no director.
func (v *byVIP) dial() probe.Dial {
	if v == nil {
		return nil
	}
	return v.dialer.Dial
}

func (v *byVIP) close() {
	if v != nil {
		v.answers.Close()
		v.dialer.Close()
	}
}
