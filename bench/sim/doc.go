// Package sim is the suite of the simulated network: how many frames a second
// netsim carries through the production director, and how soon a network
// stands. It decides how many scenarios fit into a minute.
package sim
