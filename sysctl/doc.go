// Package sysctl is the sysctl(8) command for the settings below net.ipv4.vs:
// its grammar, output, errors and exit statuses as those of procps-ng 4.0.2,
// recorded from Debian 12. What it reads and writes is behind Settings.
//
// The package opens no file: -p and --system are refused.
package sysctl
