package keepalived

// Bounds on what a configuration may make of the reader. Real configurations
// are far below them.
const (
	maxLine        = 1023    // bytes of a line; keepalived's own limit
	maxFileBytes   = 4 << 20 // of one file
	maxLines       = 500_000 // logical lines, expansions included
	maxIncludes    = 16      // depth
	maxFiles       = 1000    // files read
	maxExpansions  = 1000    // substitutions in one line
	maxRounds      = 10      // a line is looked at again after substitution
	maxPending     = 2 << 20 // bytes of expanded text still to be read
	maxDefinitions = 10_000
	maxDepth       = 100 // braces of a block that is passed over may nest deeper
	maxProblems    = 1000
)
