package plan

import (
	"slices"

	"usvs/keepalived"
)

// Route is a route that comes or goes.
type Route struct {
	Owner string `json:"of"` // static_routes, or the vrrp_instance that brings it as a master
	Kind  Kind   `json:"change"`
	Words string `json:"route"`
}

const staticRoutes = "static_routes"

// compareRoutes goes through the instances as compareInstances sees them: one that
// has another name is the same, one that comes or goes has all its routes do so.
func compareRoutes(from, to *State) []Route {
	out := routeChanges(staticRoutes, from.StaticRoutes, to.StaticRoutes)
	after := map[instanceKey]*keepalived.Instance{}
	for _, i := range to.Instances {
		after[keyOf(i)] = i
	}
	for _, i := range from.Instances {
		now := after[keyOf(i)]
		if now == nil {
			out = append(out, routeChanges("vrrp_instance "+i.Name, i.VirtualRoutes, nil)...)
			continue
		}
		delete(after, keyOf(i))
		out = append(out, routeChanges("vrrp_instance "+now.Name, i.VirtualRoutes, now.VirtualRoutes)...)
	}
	for _, i := range to.Instances {
		if after[keyOf(i)] == i {
			out = append(out, routeChanges("vrrp_instance "+i.Name, nil, i.VirtualRoutes)...)
		}
	}
	return out
}

// routeChanges are those of one owner: first what goes. Routes are the same if
// their words are.
func routeChanges(owner string, from, to []keepalived.Route) (out []Route) {
	before, after := routeWords(from), routeWords(to)
	only := func(list, others []string, kind Kind) {
		for _, w := range list {
			if !slices.Contains(others, w) {
				out = append(out, Route{owner, kind, w})
			}
		}
	}
	only(before, after, Removed)
	only(after, before, Added)
	return out
}

func routeWords(list []keepalived.Route) (words []string) {
	for _, r := range list {
		words = append(words, r.String())
	}
	return words
}
