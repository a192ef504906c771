// Package iproute reads routes in the words of ip-route(8), as keepalived.conf
// has them in virtual_routes and static_routes. It knows nothing of any host:
// who has the routes made asks the kernel.
//
// Invariant: the words of String are read as the same Route again.
package iproute
