// Package wanted is what IPVS is to have by a keepalived.conf: the virtual
// services with their real servers, in the words of package ipvs.
//
// It knows nothing of health: every server is there, as in a table that
// keepalived has just filled. It does nothing; who compares or applies what it
// returns is elsewhere.
//
// Invariants: the order is the configuration's; a group stands for at most
// MaxServices services; what keepalived leaves out is left out.
package wanted
