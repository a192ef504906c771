package integration

import (
	"fmt"
	"net"

	moby "github.com/moby/ipvs"
	"golang.org/x/sys/unix"

	"usvs/ipvs"
)

// mobyClient is github.com/moby/ipvs, Docker's and many others'.
type mobyClient struct{ *moby.Handle }

func openMoby() (client, error) {
	h, err := moby.New("")
	return mobyClient{h}, err
}

// persistentFlag is the service flag that goes with a timeout.
const persistentFlag = 1

func mobyService(s clientService) *moby.Service {
	m := &moby.Service{
		Address: net.ParseIP(s.IP), Protocol: unix.IPPROTO_TCP, Port: s.Port, FWMark: s.Mark,
		SchedName: s.Scheduler, Timeout: s.Timeout, Netmask: 0xffffffff, AddressFamily: s.family(),
	}
	if s.family() == unix.AF_INET6 {
		m.Netmask = 128
	}
	if s.Timeout != 0 {
		m.Flags = persistentFlag
	}
	return m
}

func mobyServer(s clientServer) *moby.Destination {
	return &moby.Destination{
		Address: net.ParseIP(s.IP), Port: s.Port, Weight: s.Weight, ConnectionFlags: s.Method,
		UpperThreshold: s.Upper, LowerThreshold: s.Lower,
	}
}

// fromMoby is a service as it was read. A service by mark has no address there.
func fromMoby(m *moby.Service) clientService {
	s := clientService{
		IP: m.Address.String(), Port: m.Port, Mark: m.FWMark, Scheduler: m.SchedName, Timeout: m.Timeout,
		Stats: fromMobyStats(m.Stats),
	}
	if m.Address == nil {
		s.IP = map[uint16]string{unix.AF_INET: "0.0.0.0", unix.AF_INET6: "::"}[m.AddressFamily]
	}
	if (m.Flags&persistentFlag != 0) != (m.Timeout != 0) {
		s.Scheduler = fmt.Sprintf("flags %#x and timeout %d", m.Flags, m.Timeout)
	}
	return s
}

func fromMobyStats(s moby.SvcStats) ipvs.Stats {
	return ipvs.Stats{
		Conns: uint64(s.Connections), InPkts: uint64(s.PacketsIn), OutPkts: uint64(s.PacketsOut),
		InBytes: s.BytesIn, OutBytes: s.BytesOut,
		CPS: uint64(s.CPS), InPPS: uint64(s.PPSIn), OutPPS: uint64(s.PPSOut), InBPS: uint64(s.BPSIn), OutBPS: uint64(s.BPSOut),
	}
}

func (c mobyClient) AddService(s clientService) error    { return c.NewService(mobyService(s)) }
func (c mobyClient) EditService(s clientService) error   { return c.UpdateService(mobyService(s)) }
func (c mobyClient) DeleteService(s clientService) error { return c.DelService(mobyService(s)) }

func (c mobyClient) Service(s clientService) (clientService, error) {
	m, err := c.GetService(mobyService(s))
	if err != nil {
		return clientService{}, err
	}
	return fromMoby(m), nil
}

func (c mobyClient) Services() ([]clientService, error) {
	all, err := c.GetServices()
	var list []clientService
	for _, m := range all {
		list = append(list, fromMoby(m))
	}
	return list, err
}

func (c mobyClient) AddServer(s clientService, rs clientServer) error {
	return c.NewDestination(mobyService(s), mobyServer(rs))
}

func (c mobyClient) EditServer(s clientService, rs clientServer) error {
	return c.UpdateDestination(mobyService(s), mobyServer(rs))
}

func (c mobyClient) DeleteServer(s clientService, rs clientServer) error {
	return c.DelDestination(mobyService(s), mobyServer(rs))
}

func (c mobyClient) Servers(s clientService) ([]clientServer, error) {
	all, err := c.GetDestinations(mobyService(s))
	var list []clientServer
	for _, d := range all {
		list = append(list, clientServer{
			IP: d.Address.String(), Port: d.Port, Method: d.ConnectionFlags & moby.ConnectionFlagFwdMask,
			Weight: d.Weight, Upper: d.UpperThreshold, Lower: d.LowerThreshold, Stats: fromMobyStats(moby.SvcStats(d.Stats)),
		})
	}
	return list, err
}
