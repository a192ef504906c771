// Package examples shows in tests how other projects use usvs. web_test.go
// tests somebody's net/http service behind a simulated director. The directory
// keepalived has the configuration of a pair of directors, which the tests of
// package integration use as it is; chaos has one that stands more, as
// `usvs chaos` shows.
package examples
