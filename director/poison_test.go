package director

import (
	"net/netip"
	"reflect"

	"usvs/conntrack"
	"usvs/ipvs"
)

// poison fills all that a worker reuses from frame to frame with what no frame
// leaves there: whoever reads it without having written it is found out.
func (w *Worker) poison() {
	l := &w.lane
	for _, scratch := range []any{&w.p, &w.q, &w.seg, &w.c, &w.tmpl, &w.fresh, &w.req, &w.tun, &w.hop, &l.hot} {
		fill(reflect.ValueOf(scratch).Elem())
	}
	for _, c := range []*conntrack.Conn{&w.c, &w.tmpl} { // the table leaves alone what has no helper and no engine
		c.App, c.AppMode, c.AppSeq, c.InSeq, c.OutSeq = 0, 0, 0, conntrack.Seq{}, conntrack.Seq{}
		c.PEName, c.PEData = "", nil
	}
	w.p.Data = nil // which says that nobody parsed the frame in full
	w.flow = flow{ipvs.SCTP, badPort, badPort, true, 99, true}
	for i := range l.frames {
		l.frames[i].kind = reply
		fill(reflect.ValueOf(&l.frames[i].plain).Elem())
	}
	l.openings, l.left = 99, 99
	w.waits, w.lost = true, true
}

var (
	badAddr = netip.MustParseAddr("203.0.113.99")
	badPort = netip.AddrPortFrom(badAddr, 9999)
)

// fill gives every exported field a value.
func fill(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		*x = badAddr
		return
	case *netip.AddrPort:
		*x = badPort
		return
	case **ipvs.RealServer:
		*x = new(ipvs.RealServer)
		return
	}
	switch {
	case v.CanInt():
		v.SetInt(99)
	case v.CanUint():
		v.SetUint(99)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.Kind() == reflect.String:
		v.SetString("bad")
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}
