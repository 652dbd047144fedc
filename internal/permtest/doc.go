// Package permtest proves the files of deploy/nats against a NATS server: that
// each role can do its work with the permissions of its file, and that none of
// their lines could go. It has tests only.
package permtest
