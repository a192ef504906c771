package sched

// RankFrom makes n servers too many to look at, until restore is called.
func RankFrom(n int) (restore func()) {
	old := rankedFrom
	rankedFrom = n
	return func() { rankedFrom = old }
}
