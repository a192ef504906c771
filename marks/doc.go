// Package marks gives frames their firewall marks, by rules in the words of
// iptables(8) and ip6tables(8): usvs sees frames before any netfilter does, so
// the rules that would have marked them have to be its own.
//
// Of iptables it is the part that marks: table mangle, chain PREROUTING;
// matches on addresses, interface, protocol, ports and mark; targets MARK,
// ACCEPT and RETURN. Everything else is refused with an error that says what
// there is. Listings are those of iptables 1.8.9 (legacy), byte for byte,
// except that the policy's counters stay zero, addresses are never turned into
// names, commands that change rules print nothing with -v, and -S prints what
// iptables forgets to ("-i +", an inverted full range of ports). A rule that is
// not there is always "Bad rule", where iptables has two texts for it.
//
// A Ruleset is immutable: Apply returns a new one, which is published whole.
// Only the counters of its rules change, and a rule keeps its counters in the
// next Ruleset. Mark is called for every frame; it takes no lock, does not
// allocate, and looks only at rules whose destination can be the frame's.
//
// The package is pure: names are resolved through an interface.
package marks
