// Package house holds the rules of the house as tests: which package may
// import which, that the core builds everywhere, and that files stay readable.
package house
