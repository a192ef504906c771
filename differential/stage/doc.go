// Package stage is a director's machine made of the real kernel: two links, no
// one else on them, and IPVS. It plays one job after another, each in network
// namespaces of its own, and says what the kernel answered. It runs inside a
// machine of differential/uml.
//
// The far ends of the links are packet sockets: what they receive, the director
// sent. The kernel forwards a frame before the call that sent it returns, there
// being one processor, so an answer is there at once or does not come.
package stage
