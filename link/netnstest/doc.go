// Package netnstest gives a test a small network of its own, made of network
// namespaces and veth pairs, without touching the host's and without asking
// for root.
//
// Run starts the test binary again for just that one test, in new network,
// mount and process namespaces (and a new user namespace when not root), and
// calls the function there; what the function leaves behind goes away with
// that process. Inside, the whole process lives in the lab's own namespace,
// which has nothing but its loopback, and the Lab makes more of them:
//
//	func TestPing(t *testing.T) {
//		netnstest.Run(t, func(t *testing.T, lab *netnstest.Lab) {
//			client, server := lab.Namespace("client"), lab.Namespace("server")
//			lab.Veth(client, "eth0", server, "eth0")
//			client.AddAddr("eth0", "10.0.0.1/24")
//			server.AddAddr("eth0", "10.0.0.2/24")
//			ln := server.Listen("tcp", "10.0.0.2:80")
//			conn, err := client.Dial("tcp", "10.0.0.2:80")
//			client.Run("ping", "-c1", "10.0.0.2")
//		})
//	}
//
// Sockets and devices opened by plain Go code belong to lab.Home, the namespace
// the process was born in; open them in another one with Namespace.Do:
//
//	director.Do(func() { dev, err = afpacket.Open("eth0", afpacket.Options{}) })
//
// A socket stays in the namespace it was opened in, whichever goroutine or
// thread uses it later. A goroutine started inside Do is not in the namespace;
// use Namespace.Go for one that has to be.
//
// Where the kernel does not permit namespaces the test is skipped with the
// reason, or fails if USVS_REQUIRE=1. Skip does the same for any other thing
// a test needs and does not find. Methods that report nothing end the test
// when they fail, so they may only be called by the test's own goroutine;
// those that return an error may be called by any.
//
// Inside the lab /proc, /sys and /run are fresh where the kernel permits it:
// sysctls and pid files are the lab's own. One test may call Run once; use
// subtests for more. A fuller lab costs about 30 ms plus 10 ms per namespace.
package netnstest
