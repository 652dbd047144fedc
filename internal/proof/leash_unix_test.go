//go:build unix && !linux

package proof_test

import "syscall"

// leash makes a child the head of its own process group.
func leash() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
