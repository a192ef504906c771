// Package wrap lets super-frames leave within tunnels.
//
// The header that a packet socket's frames carry (link/vnet) can say how a
// super-frame is to be cut, but not that what is to be cut stands behind another
// IP header. So the kernel refuses it. A program on the interface's egress hook says
// it in the kernel's own terms: it takes the outer headers off the frame and puts
// the same bytes back as the headers of a tunnel. From there on the frame is like
// one of the kernel's own tunnels: it crosses local links whole, and the
// kernel or the card cuts it where it has to be cut.
//
// The program decides nothing and knows no addresses. It looks at super-frames of one
// socket only, which must send no others than tunnelled ones: IPv4 and IPv6,
// in IPv4 or IPv6, directly or with GRE or GUE without checksums. It needs Linux
// 6.6 and CAP_BPF outside of any user namespace; where it is not permitted, super-frames
// have to be cut in user space.
package wrap
