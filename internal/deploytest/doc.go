// Package deploytest holds what is in deploy/ and docs/operate to the program: every
// command, flag, path, port, variable and metric that they name is there, and every
// configuration in them loads. The tests need no network and no tools; those that run
// helm, kubeconform, promtool and systemd-analyze, and that put the image's file system
// together, stand behind
// the build tag deploy: make check-deploy.
package deploytest
