package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Cluster starts servers in this process that make one cluster on loopback,
// open to everybody on this machine, and returns their addresses and what stops
// them. It is for tests and benchmarks of what costs more with replicas; the
// program itself runs one server.
func Cluster(ctx context.Context, dir string, nodes int) (urls []string, stop func(), err error) {
	var all []*server.Server
	stop = func() {
		for _, s := range all {
			s.Shutdown()
		}
		for _, s := range all {
			s.WaitForShutdown()
		}
	}
	// A node of a cluster wants to know the others when it starts.
	ports, routes, err := freePorts(ctx, nodes)
	if err != nil {
		return nil, nil, err
	}
	for i := range nodes {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("node-%d", i+1), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprintf("node-%d", i+1)), JetStreamMaxMemory: maxMemory, JetStreamMaxStore: 1 << 30,
			Cluster: server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("node %d: %w", i+1, err)
		}
		all = append(all, s)
		s.Start()
	}
	for i, s := range all {
		if !s.ReadyForConnections(10 * time.Second) {
			stop()
			return nil, nil, fmt.Errorf("node %d is not ready", i+1)
		}
		urls = append(urls, s.ClientURL())
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		// Every node must be in the group before a stream has room for its copies.
		for _, s := range all {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == nodes {
				return urls, stop, nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			stop()
			return nil, nil, context.Cause(ctx)
		}
	}
	stop()
	return nil, nil, errors.New("the cluster has no leader")
}

// freePorts finds ports that nobody listens on, and the addresses of nodes that
// do.
func freePorts(ctx context.Context, n int) (ports []int, routes []*url.URL, err error) {
	for range n {
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // all of them at the end, so that they differ
		at, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, nil, errors.New("find a free port: no TCP address")
		}
		ports = append(ports, at.Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	return ports, routes, nil
}
