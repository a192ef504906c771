// Package show makes what happened in a simulated network visible: as a ladder,
// a text sequence diagram of each connection with what the director changed,
// and as one HTML page to step through, which needs no network.
//
//	rec := show.Watch(n)   // before the traffic
//	n.Run(5 * time.Second)
//	rec.WriteLadder(os.Stdout)
//	rec.WritePage(file, "two servers, rr")
//
// It only looks: a run that is watched is the same run, and what is written is
// the same for the same run, byte for byte. A Recording belongs to the
// goroutine of its Net.
//
//	watch.go   what is kept of a run
//	flow.go    which frames belong to one connection, and what came before what
//	ladder.go  the text
//	page.go    the page's data; page.html shows it
package show
