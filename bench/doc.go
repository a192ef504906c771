// Package bench holds benchmarks that span packages. Run them with
//
//	go test ./bench -run XXX -bench . -cpu 1
//
// A figure that matters is in the benchmark's own metrics: frames and link
// deliveries a second, not only nanoseconds.
package bench
