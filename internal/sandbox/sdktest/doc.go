// Package sdktest proves that Microsoft's own Go SDK (msgraph-sdk-go) works
// against the sandbox as it works against Graph, with its defaults as they are.
//
// It holds tests only: each scenario starts a sandbox of its own, drives it
// with the SDK, and checks every result by reading it back. It is a module of
// its own, so that the SDK stays out of the product's dependencies, and is run
// by `make sdktest`.
package sdktest
