// Package procnet writes the files that the kernel's IPVS has in /proc/net:
// ip_vs, ip_vs_app, ip_vs_conn, ip_vs_conn_sync, ip_vs_stats and
// ip_vs_stats_percpu, byte for byte (ipvs.md section 7). Programs that watch a
// director read them.
//
// The package is pure: it asks a Source and writes to an io.Writer. It keeps
// nothing between two calls and has no locks. Rows come in the order of the
// Source, as they do in that of the kernel's hash tables.
package procnet
