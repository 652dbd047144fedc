#!/bin/sh
# Before a package is removed (not upgraded): dpkg says "remove", rpm says 0.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now outlook-connector.service || true
	fi
	;;
esac
