package proof_test

import "syscall"

// leash makes a child the head of its own process group and has the system kill
// it when this process dies, also where the test binary is ended by its timeout
// and no cleanup runs.
func leash() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
