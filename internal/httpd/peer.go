package httpd

import (
	"context"
	"net"
)

// peerKey is the key of a connection's other end in the contexts of its requests.
type peerKey struct{}

func withPeer(ctx context.Context, conn net.Conn) context.Context {
	address := conn.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	return context.WithValue(ctx, peerKey{}, address)
}

// Peer returns the address from which the request of a context came, "" where it
// is of none: that of the connection, which is the proxy's where there is one.
// Headers that name another are not believed.
func Peer(ctx context.Context) string {
	address, _ := ctx.Value(peerKey{}).(string)
	return address
}
