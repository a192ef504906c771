package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"usvs/keepalived"
)

// Instance is a vrrp_instance that comes, goes or changes.
type Instance struct {
	Name   string  `json:"instance"`
	Kind   Kind    `json:"change"`
	Fields []Field `json:"fields,omitempty"`
}

// instanceKey is what makes an instance the same after a reload: not its name
// (keepalived compares these).
type instanceKey struct {
	vrid      int
	v6        bool
	iface     string
	unicast   bool
	from      netip.Addr
	virtualIf bool
}

func keyOf(i *keepalived.Instance) instanceKey {
	k := instanceKey{vrid: i.VirtualRouterID.V, v6: isV6(i), iface: i.Interface.V, unicast: len(i.UnicastPeers) > 0}
	if k.unicast {
		k.from = i.UnicastSrc.V
	} else {
		k.from, k.virtualIf = i.McastDst.V, i.UseVMAC.Set()
	}
	return k
}

func isV6(i *keepalived.Instance) bool {
	return len(i.VirtualAddresses) > 0 && i.VirtualAddresses[0].Prefix.Addr().Is6()
}

func compareInstances(from, to []*keepalived.Instance) (out []Instance) {
	before, after := map[instanceKey]*keepalived.Instance{}, map[instanceKey]*keepalived.Instance{}
	for _, i := range from {
		before[keyOf(i)] = i
	}
	for _, i := range to {
		after[keyOf(i)] = i
		if before[keyOf(i)] == nil {
			out = append(out, Instance{Name: i.Name, Kind: Added})
		}
	}
	for _, i := range from {
		now := after[keyOf(i)]
		if now == nil {
			out = append(out, Instance{Name: i.Name, Kind: Removed})
		} else if f := instanceFields(i, now); len(f) > 0 {
			out = append(out, Instance{Name: now.Name, Kind: Changed, Fields: f})
		}
	}
	slices.SortStableFunc(out, func(a, b Instance) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func instanceFields(a, b *keepalived.Instance) (f fields) {
	f.add("name", a.Name, b.Name)
	f.add("version", fmt.Sprint(a.Version.V), fmt.Sprint(b.Version.V))
	f.add("state", a.State.V, b.State.V)
	f.add("priority", fmt.Sprint(a.Priority.V), fmt.Sprint(b.Priority.V))
	f.add("advert_int", seconds(a.AdvertInterval.V), seconds(b.AdvertInterval.V))
	f.add("authentication", authentication(a), authentication(b))
	if a.AuthType.V == b.AuthType.V && a.AuthPass.V != b.AuthPass.V {
		f = append(f, Field{"auth_pass", "(hidden)", "(hidden)"})
	}
	f.add("virtual_ipaddress", addresses(a.VirtualAddresses), addresses(b.VirtualAddresses))
	f.add("virtual_ipaddress_excluded", addresses(a.ExcludedAddresses), addresses(b.ExcludedAddresses))
	f.add("nopreempt", fmt.Sprint(a.NoPreempt.V), fmt.Sprint(b.NoPreempt.V))
	f.add("preempt_delay", seconds(a.PreemptDelay.V), seconds(b.PreemptDelay.V))
	f.add("unicast_peer", peers(a), peers(b))
	return f
}

func seconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }

func authentication(i *keepalived.Instance) string { return orNone(i.AuthType.V) }

func addresses(list []keepalived.Address) string {
	var words []string
	for _, a := range list {
		words = append(words, a.Prefix.String())
	}
	return orNone(strings.Join(words, " "))
}

func peers(i *keepalived.Instance) string {
	var words []string
	for _, p := range i.UnicastPeers {
		words = append(words, p.Addr.String())
	}
	return orNone(strings.Join(words, " "))
}

// shared are the settings that both directors of a pair must have alike, and
// what happens while they do not.
var shared = map[string]string{
	"version":           "adverts of another version are dropped",
	"authentication":    "adverts with another authentication are dropped",
	"auth_pass":         "adverts with another password are dropped",
	"virtual_ipaddress": "adverts with other addresses are dropped",
}

// warnInstances tells of what both directors have to change at once, and of
// addresses on their way from one instance to another.
func (p *Plan) warnInstances(from, to *State) {
	for _, i := range p.Instances {
		for _, f := range i.Fields {
			why := shared[f.Name]
			if f.Name == "advert_int" && version(to, i.Name) == 2 {
				why = "VRRPv2 drops adverts with another interval"
			}
			if why != "" {
				p.warning("vrrp_instance %s: %s changes: until the other director has it, too, %s, and both become master", i.Name, f.Name, why)
			}
		}
		if i.Kind == Removed {
			p.warning("vrrp_instance %s goes (or its virtual_router_id, interface or mode changes, which makes it another instance): a master sends priority 0 and gives its addresses up", i.Name)
		}
	}
	before := owners(from.Instances)
	for _, o := range owners(to.Instances) {
		i := slices.IndexFunc(before, func(b owner) bool { return b.addr == o.addr })
		if i >= 0 && before[i].key != o.key {
			p.warning("%v moves from vrrp_instance %s to %s: keepalived may need two reloads for this", o.addr, before[i].name, o.name)
		}
	}
}

func version(s *State, instance string) int {
	for _, i := range s.Instances {
		if i.Name == instance {
			return i.Version.V
		}
	}
	return 0
}

// owner is the instance of an address.
type owner struct {
	addr netip.Addr
	name string
	key  instanceKey
}

func owners(list []*keepalived.Instance) (out []owner) {
	for _, i := range list {
		for _, a := range slices.Concat(i.VirtualAddresses, i.ExcludedAddresses) {
			out = append(out, owner{a.Prefix.Addr(), i.Name, keyOf(i)})
		}
	}
	return out
}
