package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"usvs/ipvs"
)

// linux/ip_vs.h: commands, and attributes of a request, of a service, of a
// real server, of counters.
const (
	cmdNewService, cmdSetService, cmdDelService, cmdGetService = 1, 2, 3, 4
	cmdNewDest, cmdSetDest, cmdDelDest, cmdGetDest             = 5, 6, 7, 8

	attrService, attrDest = 1, 2

	svcFamily, svcProtocol, svcAddr, svcPort, svcMark, svcScheduler, svcFlags, svcTimeout, svcNetmask, svcStats64 = 1, 2, 3, 4, 5, 6, 7, 8, 9, 12

	destAddr, destPort, destMethod, destWeight, destUpper, destLower, destFamily, destStats64 = 1, 2, 3, 4, 5, 6, 11, 12
)

// genericClient speaks generic netlink with github.com/vishvananda/netlink,
// which insists on answers that come from the kernel.
type genericClient struct {
	family  uint16
	sockets map[int]*nl.SocketHandle // nil: a new one for each request
}

// opened counts clients: every other one keeps its socket.
var opened atomic.Int32

func openVishvananda() (client, error) {
	c := &genericClient{family: nl.GENL_ID_CTRL}
	if opened.Add(1)%2 == 0 {
		s, err := nl.GetNetlinkSocketAt(-1, -1, unix.NETLINK_GENERIC)
		if err != nil {
			return nil, err
		}
		c.sockets = map[int]*nl.SocketHandle{unix.NETLINK_GENERIC: {Socket: s}}
	}
	answers, err := c.do(nl.GENL_CTRL_CMD_GETFAMILY, 0, nl.NewRtAttr(nl.GENL_CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated("IPVS")))
	if err != nil {
		c.Close()
		return nil, err
	}
	for _, a := range answers[0] {
		if a.Attr.Type == nl.GENL_CTRL_ATTR_FAMILY_ID {
			c.family = binary.NativeEndian.Uint16(a.Value)
		}
	}
	return c, nil
}

func (c *genericClient) Close() {
	for _, s := range c.sockets {
		s.Close()
	}
}

// genericHeader is a generic netlink header; nl.Genlmsg sends two bytes of
// whatever lies behind it in memory.
type genericHeader []byte

func (h genericHeader) Len() int          { return len(h) }
func (h genericHeader) Serialize() []byte { return h }

// do sends a request and returns the attributes of each answer.
func (c *genericClient) do(command uint8, flags int, data ...*nl.RtAttr) ([][]syscall.NetlinkRouteAttr, error) {
	req := nl.NewNetlinkRequest(int(c.family), flags)
	req.Sockets = c.sockets
	req.AddData(genericHeader{command, 1, 0, 0})
	for _, d := range data {
		req.AddData(d)
	}
	messages, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil, err
	}
	var answers [][]syscall.NetlinkRouteAttr
	for _, m := range messages {
		attrs, err := nl.ParseRouteAttr(m[nl.SizeofGenlmsg:])
		if err != nil {
			return nil, err
		}
		answers = append(answers, attrs)
	}
	return answers, nil
}

func (c *genericClient) change(command uint8, data ...*nl.RtAttr) error {
	_, err := c.do(command, unix.NLM_F_ACK, data...)
	return err
}

func port(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

func serviceAttr(s clientService) *nl.RtAttr {
	a := nl.NewRtAttr(attrService|unix.NLA_F_NESTED, nil)
	a.AddRtAttr(svcFamily, nl.Uint16Attr(s.family()))
	if s.Mark != 0 {
		a.AddRtAttr(svcMark, nl.Uint32Attr(s.Mark))
	} else {
		a.AddRtAttr(svcProtocol, nl.Uint16Attr(unix.IPPROTO_TCP))
		a.AddRtAttr(svcAddr, netip.MustParseAddr(s.IP).AsSlice())
		a.AddRtAttr(svcPort, port(s.Port))
	}
	flags, mask := uint32(0), uint32(0xffffffff)
	if s.Timeout != 0 {
		flags = persistentFlag
	}
	if s.family() == unix.AF_INET6 {
		mask = 128
	}
	a.AddRtAttr(svcScheduler, nl.ZeroTerminated(s.Scheduler))
	a.AddRtAttr(svcFlags, append(nl.Uint32Attr(flags), 0xff, 0xff, 0xff, 0xff))
	a.AddRtAttr(svcTimeout, nl.Uint32Attr(s.Timeout))
	a.AddRtAttr(svcNetmask, nl.Uint32Attr(mask))
	return a
}

func serverAttr(s clientServer) *nl.RtAttr {
	a := nl.NewRtAttr(attrDest|unix.NLA_F_NESTED, nil)
	addr := netip.MustParseAddr(s.IP)
	a.AddRtAttr(destAddr, addr.AsSlice())
	a.AddRtAttr(destFamily, nl.Uint16Attr(clientService{IP: s.IP}.family()))
	a.AddRtAttr(destPort, port(s.Port))
	a.AddRtAttr(destMethod, nl.Uint32Attr(s.Method))
	a.AddRtAttr(destWeight, nl.Uint32Attr(uint32(s.Weight)))
	a.AddRtAttr(destUpper, nl.Uint32Attr(s.Upper))
	a.AddRtAttr(destLower, nl.Uint32Attr(s.Lower))
	return a
}

func (c *genericClient) AddService(s clientService) error {
	return c.change(cmdNewService, serviceAttr(s))
}

func (c *genericClient) EditService(s clientService) error {
	return c.change(cmdSetService, serviceAttr(s))
}

func (c *genericClient) DeleteService(s clientService) error {
	return c.change(cmdDelService, serviceAttr(s))
}

func (c *genericClient) AddServer(s clientService, rs clientServer) error {
	return c.change(cmdNewDest, serviceAttr(s), serverAttr(rs))
}

func (c *genericClient) EditServer(s clientService, rs clientServer) error {
	return c.change(cmdSetDest, serviceAttr(s), serverAttr(rs))
}

func (c *genericClient) DeleteServer(s clientService, rs clientServer) error {
	return c.change(cmdDelDest, serviceAttr(s), serverAttr(rs))
}

func (c *genericClient) Service(s clientService) (clientService, error) {
	answers, err := c.do(cmdGetService, 0, serviceAttr(s))
	if err != nil {
		return clientService{}, err
	}
	if len(answers) != 1 {
		return clientService{}, fmt.Errorf("%d answers about one service", len(answers))
	}
	return readService(answers[0])
}

func (c *genericClient) Services() ([]clientService, error) {
	answers, err := c.do(cmdGetService, unix.NLM_F_DUMP)
	var list []clientService
	for _, a := range answers {
		s, err := readService(a)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, err
}

func (c *genericClient) Servers(s clientService) ([]clientServer, error) {
	answers, err := c.do(cmdGetDest, unix.NLM_F_DUMP, serviceAttr(s))
	var list []clientServer
	for _, a := range answers {
		rs, err := readServer(a)
		if err != nil {
			return nil, err
		}
		list = append(list, rs)
	}
	return list, err
}

// record reads the attributes of one, by number.
type record map[uint16][]byte

func readRecord(answer []syscall.NetlinkRouteAttr, attr uint16) (record, error) {
	for _, a := range answer {
		if a.Attr.Type&^unix.NLA_F_NESTED != attr {
			continue
		}
		attrs, err := nl.ParseRouteAttr(a.Value)
		r := record{}
		for _, a := range attrs {
			r[a.Attr.Type&^unix.NLA_F_NESTED] = a.Value
		}
		return r, err
	}
	return nil, fmt.Errorf("an answer without attribute %d", attr)
}

func (r record) number(attr uint16) uint64 {
	switch v := r[attr]; len(v) {
	case 2:
		return uint64(binary.NativeEndian.Uint16(v))
	case 4:
		return uint64(binary.NativeEndian.Uint32(v))
	case 8:
		return binary.NativeEndian.Uint64(v)
	}
	return 0
}

func (r record) port(attr uint16) uint16 {
	if v := r[attr]; len(v) == 2 {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

// ip reads an address, which comes in 16 bytes whatever its family.
func (r record) ip(attr uint16, family uint16) string {
	v := r[attr]
	switch {
	case family == unix.AF_INET6 && len(v) == 16:
		return netip.AddrFrom16([16]byte(v)).String()
	case family == unix.AF_INET && len(v) >= 4:
		return netip.AddrFrom4([4]byte(v)).String()
	case len(v) == 0 && family == unix.AF_INET6:
		return "::"
	}
	return "0.0.0.0"
}

func (r record) stats(attr uint16) (ipvs.Stats, error) {
	attrs, err := nl.ParseRouteAttr(r[attr])
	if err != nil {
		return ipvs.Stats{}, err
	}
	n := record{}
	for _, a := range attrs {
		n[a.Attr.Type] = a.Value
	}
	return ipvs.Stats{
		Conns: n.number(1), InPkts: n.number(2), OutPkts: n.number(3), InBytes: n.number(4), OutBytes: n.number(5),
		CPS: n.number(6), InPPS: n.number(7), OutPPS: n.number(8), InBPS: n.number(9), OutBPS: n.number(10),
	}, nil
}

func readService(answer []syscall.NetlinkRouteAttr) (clientService, error) {
	r, err := readRecord(answer, attrService)
	if err != nil {
		return clientService{}, err
	}
	s := clientService{
		IP: r.ip(svcAddr, uint16(r.number(svcFamily))), Port: r.port(svcPort), Mark: uint32(r.number(svcMark)),
		Scheduler: nl.BytesToString(r[svcScheduler]), Timeout: uint32(r.number(svcTimeout)),
	}
	if flags := r[svcFlags]; len(flags) != 8 || (flags[0]&persistentFlag != 0) != (s.Timeout != 0) {
		return s, errors.New("flags and timeout do not agree")
	}
	s.Stats, err = r.stats(svcStats64)
	return s, err
}

func readServer(answer []syscall.NetlinkRouteAttr) (clientServer, error) {
	r, err := readRecord(answer, attrDest)
	if err != nil {
		return clientServer{}, err
	}
	s := clientServer{
		IP: r.ip(destAddr, uint16(r.number(destFamily))), Port: r.port(destPort), Method: uint32(r.number(destMethod)) & 7,
		Weight: int(int32(r.number(destWeight))), Upper: uint32(r.number(destUpper)), Lower: uint32(r.number(destLower)),
	}
	s.Stats, err = r.stats(destStats64)
	return s, err
}
