package chaos

import (
	"errors"
	"net/netip"
	"slices"

	"usvs/keepalived"
)

// priorityStep is by how much the second node of a pair that is made of one
// configuration is less willing to be master, or more.
const priorityStep = 50

// Pair makes the other node's configuration of one node's: the states are
// swapped, the priorities differ, and unicast source and peer change places.
// What is shared, virtual addresses and servers above all, stays.
func Pair(in Input) (Input, error) {
	if len(in.Config.Instances) == 0 {
		return Input{}, errors.New("there is no vrrp_instance to make a pair of")
	}
	c := *in.Config
	if c.Global.RouterID.V != "" {
		c.Global.RouterID.V += "-peer"
	}
	c.StaticAddresses, c.StaticRoutes = nil, nil // they are the first node's own
	twins := map[*keepalived.Instance]*keepalived.Instance{}
	c.Instances = nil
	for _, i := range in.Config.Instances {
		twin := peerOf(i)
		twins[i] = twin
		c.Instances = append(c.Instances, twin)
	}
	c.SyncGroups = nil
	for _, g := range in.Config.SyncGroups {
		c.SyncGroups = append(c.SyncGroups, groupOf(g, twins))
	}
	return Input{Name: fileStem(in.Name) + "-peer.conf", Config: &c}, nil
}

// peerOf is an instance as the other node has it.
func peerOf(i *keepalived.Instance) *keepalived.Instance {
	twin := *i
	first := i.State.V == "MASTER" || i.Priority.V > 100
	twin.State.V, twin.Priority.V = "MASTER", min(i.Priority.V+priorityStep, 254)
	if first || i.NoPreempt.V {
		twin.State.V = "BACKUP"
	}
	if first {
		twin.Priority.V = max(i.Priority.V-priorityStep, 1)
	}
	if len(i.UnicastPeers) == 1 {
		src, peer := i.UnicastSrc.V, i.UnicastPeers[0].Addr
		if !src.IsValid() {
			src = peer.Next() // any other: the file does not say what the first node has
		}
		twin.UnicastPeers = slices.Clone(i.UnicastPeers)
		twin.UnicastPeers[0].Addr, twin.UnicastSrc.V = src, peer
	}
	twin.McastSrc = keepalived.Value[netip.Addr]{}
	return &twin
}

// groupOf is a sync group of the other node's instances.
func groupOf(g *keepalived.SyncGroup, twins map[*keepalived.Instance]*keepalived.Instance) *keepalived.SyncGroup {
	twin := *g
	twin.Instances = nil
	for _, i := range g.Instances {
		if twins[i] == nil {
			continue
		}
		twins[i].SyncGroup = &twin
		twin.Instances = append(twin.Instances, twins[i])
	}
	return &twin
}
