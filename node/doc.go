// Package node is a whole LVS node by a keepalived.conf: it joins the Router
// (package vrrp), the Monitor (package health) and the director's control, and
// says to a World what is left to do. It is pure like those it joins: the same
// Node runs on a host and in the simulator, in virtual time.
//
//   - node.go: what a Node is made of; start, stop, reload, what comes in
//   - world.go: the World
//   - plan.go: a configuration in the words of vrrp, health and the World, by
//     plan_vrrp.go, plan_health.go and plan_world.go
//   - router.go: what the Router wants done; which addresses are ours
//   - static.go: static addresses, and routes
//   - monitor.go: what the Monitor wants done
//   - table.go: global settings of IPVS, and its synchronisation daemons
//   - notify.go: events as scripts, lines for FIFOs and mail
//   - status.go, render.go: what usvs vrrp and usvs health show
//
// Configuration types of package keepalived end here: nothing below sees them.
//
// A Node is not safe for concurrent use: its owner serialises. It calls the
// World from within its methods. Its owner calls Tick at the time that Tick
// returned last, and after every other method, which may bring that forward.
//
// Invariants: the director owns an address of an instance exactly while the
// instance is master. A configuration that is refused changes nothing.
package node
