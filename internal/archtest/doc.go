// Package archtest holds the house rules that a compiler does not: which room
// may know which other, and why.
package archtest
