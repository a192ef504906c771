// Package flame draws processor profiles: stacks of functions, the widths being
// the time spent below each, as an SVG file without scripts. Profiles come from
// runtime/pprof, or as folded stacks ("main;work;add 17"), the form that perf's
// scripts and others share.
//
// The same stacks give the same bytes, in whatever order they come.
package flame
