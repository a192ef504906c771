// Package examples shows in tests how other projects use usvs. web_test.go
// tests somebody's net/http service behind a simulated director.
package examples
