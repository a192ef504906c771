// Package plan says what a change of configuration would do: which services and
// servers come, go and change, how the load is shared before and after, what
// becomes of connections that are there, and what an operator may not have meant.
//
// Nothing is executed. Both configurations become a State; shares come from the
// production schedulers, which are asked for servers for made-up clients; what
// becomes of connections are IPVS's rules, which docs/plan.md lists.
//
//	state.go     a configuration, whatever it was written in
//	compare.go   two of them, side by side
//	share.go     who would serve whom
//	conns.go     connections that are there
//	flows.go     clients of a capture
//	vrrp.go      what changes between the directors of a pair; routes.go: their routes
//	warnings.go  what may not be meant
//	text.go      the plan for people
//
// The same configurations give the same plan.
package plan
