// Package house holds the rules of the house as tests: which package may
// import which, that the core is pure and builds everywhere, that files stay
// readable, and that what documents name exists.
package house
