package marks

// First returns a copy of the first n rules, with counters of its own.
func (rs *Ruleset) First(n int) *Ruleset {
	return build(rs.family, counted(rs.rules[:n]))
}
