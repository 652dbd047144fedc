#!/bin/sh
# After the files of a deb or rpm are in place: the account, a token key where there is
# none, and systemd's knowledge of the unit. It starts nothing.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers outlook-connector.conf
fi
if [ ! -e /etc/outlook-connector/token.key ]; then
	(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >/etc/outlook-connector/token.key)
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
