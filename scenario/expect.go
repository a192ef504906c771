package scenario

import (
	"slices"
	"strings"
	"time"
)

// parseExpect reads what stands behind `expect`.
func parseExpect(p *parser, w *words) (Action, error) {
	switch {
	case w.is("answered"):
		return parseAnswered(p, w)
	case w.is("order"):
		return parseOrder(p, w)
	case w.is("one"):
		w.want("server")
		x := &ExpectOneServer{}
		x.Of = w.of()
		return x, w.err
	case w.is("same"):
		return parseSame(w, false)
	case w.is("other"):
		return parseSame(w, true)
	case w.is("failed"):
		return parseFailed(w)
	case w.is("counter"):
		x := &ExpectCounter{Node: w.director(), Name: w.need("a counter"), Range: w.count("how many")}
		return x, w.err
	case w.is("log"):
		return parseLog(w, false)
	case w.is("neighbour"):
		return parseNeighbour(w)
	case w.is("vip"):
		return parseVIP(w)
	case w.is("health"):
		return parseHealth(w)
	case len(w.list) > 1 && slices.Contains(states, w.list[1]):
		return parseState(w)
	case w.is("frame"):
		return parseFrame(p, w, nil)
	case w.is("no"):
		if w.is("log") {
			return parseLog(w, true)
		}
		w.want("frame")
		return parseFrame(p, w, &Range{})
	case w.isCount():
		n := w.count("how many frames")
		w.want("frames")
		return parseFrame(p, w, &n)
	}
	return nil, p.errorf("expect %q: want answered, order, one server, same server, other server, failed, "+
		"frame, no frame, N frames, counter, log, no log, neighbour, vip, health or a director's name", w.peek())
}

// of takes `of NAME` at the end of a line, the traffic that is judged.
func (w *words) of() string {
	if !w.is("of") {
		if !w.p.any {
			w.fail("nothing has been sent yet")
		}
		return ""
	}
	return w.trafficName()
}

func (w *words) trafficName() string {
	name := w.need("the traffic's name")
	if _, ok := w.p.traffic[name]; !ok {
		w.fail("no traffic is called %q", name)
	}
	return name
}

// server takes the name of a machine that answers requests.
func (w *words) server() string {
	s := w.node()
	if n := w.p.file.Topology.Node(s); n != nil && len(n.HTTP)+len(n.UDP) == 0 {
		w.fail("%s serves nothing", s)
	}
	return s
}

// parseAnswered reads `answered 30` or `answered rs1 15 rs2 10..20`.
func parseAnswered(_ *parser, w *words) (Action, error) {
	x := &ExpectAnswered{}
	if w.isCount() {
		total := w.count("how many")
		x.Total = &total
		x.Of = w.of()
		return x, w.err
	}
	for ok := true; ok; ok = w.peek() != "" && w.peek() != "of" && w.err == nil {
		x.Shares = append(x.Shares, Share{Server: w.server(), Range: w.count("how many")})
	}
	x.Of = w.of()
	return x, w.err
}

// parseOrder reads `order rs1 rs2 rs1` or `order rs1 rs2 ...`.
func parseOrder(_ *parser, w *words) (Action, error) {
	x := &ExpectOrder{}
	for ok := true; ok; ok = w.peek() != "" && w.peek() != "of" && w.err == nil {
		if w.is("...") {
			x.Repeat = true
			break
		}
		x.Servers = append(x.Servers, w.server())
	}
	if len(x.Servers) == 0 {
		w.fail("in which order?")
	}
	x.Of = w.of()
	return x, w.err
}

// parseSame reads `same server as NAME`.
func parseSame(w *words, other bool) (Action, error) {
	w.want("server", "as")
	x := &ExpectOneServer{SameAs: w.trafficName(), Other: other}
	x.Of = w.of()
	return x, w.err
}

// parseFailed reads `failed 3`, `failed 3 refused`.
func parseFailed(w *words) (Action, error) {
	x := &ExpectFailed{N: w.count("how many")}
	if isFailure(w.peek()) {
		x.By = Failure(w.next())
	}
	x.Of = w.of()
	return x, w.err
}

func parseLog(w *words, no bool) (Action, error) {
	x := &ExpectLog{Node: w.director(), Text: strings.Join(w.list, " "), No: no}
	if w.list = nil; x.Text == "" {
		w.fail("which words?")
	}
	return x, w.err
}

// parseNeighbour reads `client 10.0.0.1 director` or `client 10.0.0.1 nobody`.
func parseNeighbour(w *words) (Action, error) {
	x := &ExpectNeighbour{Node: w.node(), Addr: w.addr()}
	if !w.is("nobody") {
		x.Owner = w.node()
	}
	return x, w.err
}

// parseFrame reads `at rs1:eth0 in PATTERN after 5s`.
func parseFrame(p *parser, w *words, count *Range) (Action, error) {
	w.want("at")
	x := &ExpectFrame{Count: count, At: w.iface()}
	if d := Direction(w.peek()); d == In || d == Out {
		x.Dir = d
		w.next()
	}
	if k := slices.Index(w.list, "after"); k >= 0 {
		x.After = parseAfter(p, w, w.list[k+1:])
		w.list = w.list[:k]
	}
	x.Match = w.pattern()
	return x, w.err
}

func parseAfter(p *parser, w *words, list []string) string {
	if len(list) != 1 {
		w.fail("want `after NAME` or `after DURATION` at the end")
		return ""
	}
	if d, err := time.ParseDuration(list[0]); (err != nil || d < 0) && !p.moments[list[0]] {
		w.fail("%q is neither a moment nor a duration", list[0])
	}
	return list[0]
}
