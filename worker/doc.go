// Package worker is the running process as a package: it wires the roles from
// the configuration, starts them, tells how they are, and stops them last-in
// first-out. A test can start several in one process. Signals, flags and exit
// codes are left to the command line; what is polled, sent or stored is left to
// the rooms that it wires.
package worker
