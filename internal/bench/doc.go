// Package bench measures the program as it is deployed: every part is a process
// of its own, so that a figure for CPU time or memory is that part's alone. Next
// to each measurement stands the raw figure of the same machine in the same run,
// so that a ratio can be quoted where the machine cannot.
//
// The parts are started by running this program again ([Part]); they end with
// their standard input, so none outlives whoever started it.
package bench
