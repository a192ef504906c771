// Package shell reads and runs the command lines that recordings are made of,
// as Debian's /bin/sh would: words and quoting, variables, lists, pipelines,
// redirections, subshells, if, for and while. Commands are Go functions and
// files those of a Files: nothing is executed on this machine.
//
//	lex.go      characters to tokens
//	parse.go    tokens to a tree
//	expand.go   what words stand for
//	run.go      the tree, executed
//	builtin.go  echo, printf, test and the like
//	text.go     cat, grep, and what such tools have in common
//	filter.go   head, sort, uniq and the like; ls and rm
//	sed.go      the simple half of sed
//	files.go    a file system in memory
//
// What the language has and this shell has not (functions, here documents,
// case, arithmetic, job control) is reported as a syntax error, never skipped.
//
// The package is pure: no clock, no socket, no process. A Shell belongs to one
// goroutine. Loops are bounded, so that every line ends.
package shell
