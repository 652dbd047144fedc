// Package examples holds small programs and files that show how to use the
// connector. A test runs each of them, so that they cannot rot.
package examples
