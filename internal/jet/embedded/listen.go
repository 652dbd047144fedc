package embedded

import (
	"net"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"outlook-connector/internal/fault"
)

// listenAddress is a checked Options.Listen. The zero value means no listener.
type listenAddress struct {
	on   bool
	host string
	port int
}

// parseListen checks an address. Whoever reaches the listener can send mail in
// the user's name, so it never leaves this machine.
func parseListen(address string) (listenAddress, error) {
	if address == "" {
		return listenAddress{}, nil
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return listenAddress{}, fault.New(fault.Fatal, "embedded nats: listen address %q: %w", address, err).
			WithHint("write host:port, such as 127.0.0.1:4222")
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return listenAddress{}, fault.New(fault.Fatal, "embedded nats: listen address %q: port %q is no number up to 65535", address, portText).
			WithHint("write host:port, such as 127.0.0.1:4222")
	}
	ip := net.ParseIP(host)
	if !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
		return listenAddress{}, fault.New(fault.Fatal, "embedded nats: %q is not a loopback address", address).
			WithHint("listen on 127.0.0.1, or run a NATS server of your own and set nats.url")
	}
	at := listenAddress{on: true, host: host, port: int(port)}
	if port == 0 {
		at.port = server.RANDOM_PORT
	}
	return at, nil
}
