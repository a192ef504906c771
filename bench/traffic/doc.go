// Package traffic is TCP clients and servers that take as little of the machine
// as they can: they are not what is to be measured.
//
//	server_linux.go    answers requests and swallows streams
//	loop_linux.go      a client's connections and what they wait for
//	requests_linux.go  requests one after the other, or at a rate
//	connects_linux.go  a connection per request
//	streams_linux.go   as many bytes as go
//	histogram.go       how long things took
//
// A server is one thread that waits for all its connections at once (epoll); so
// is a client. A client's methods work on the calling thread and open sockets
// there: call them in the namespace of the client's machine. Connections are
// closed in the ordinary way. On machines that serve many in short time, limit
// net.ipv4.tcp_max_tw_buckets: what one measurement leaves slows the next.
package traffic
