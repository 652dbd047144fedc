#!/bin/sh
# Writes .env with new secrets, readable by you only. Values that are there stay,
# the token key above all: without it the stored grants cannot be opened.
set -eu
cd "$(dirname "$0")"
umask 077
touch .env
# A letter comes first where NATS reads the value: it would take digits for a number.
secret() { grep -q "^$1=" .env || printf '%s=%s%s\n' "$1" "$2" "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >>.env; }
ask() { grep -q "^$1=" .env || printf '%s=%s\n' "$1" "$2" >>.env; }
secret OUTLOOK_TOKEN_KEY ""
for name in OUTLOOK_HTTP_CREDENTIAL NATS_PASSWORD ROUTE_PASSWORD SYS_PASSWORD GRAFANA_PASSWORD; do
	secret "$name" s
done
ask OUTLOOK_TENANT "${OUTLOOK_TENANT:-}"
ask OUTLOOK_CLIENT_ID "${OUTLOOK_CLIENT_ID:-}"
ask OUTLOOK_CLIENT_SECRET "${OUTLOOK_CLIENT_SECRET:-}"
echo "wrote $PWD/.env; keep a copy of OUTLOOK_TOKEN_KEY apart from the volume of the tokens"
grep -Eq '^OUTLOOK_(TENANT|CLIENT_ID)=$' .env && echo "fill in OUTLOOK_TENANT and OUTLOOK_CLIENT_ID there" || true
