package worker_test

import (
	"net"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// leaderless runs a NATS server without JetStream, in whose place somebody
// answers what a cluster without a leader answers. It returns how often that was
// asked.
func leaderless(t *testing.T, address string) (asked func() int64) {
	t.Helper()
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{Host: host, Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("nats server does not start")
	}
	answerer, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(answerer.Close)
	var n atomic.Int64
	const text = `{"type": "io.nats.jetstream.api.v1.stream_info_response", "error": {"code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable"}}`
	if _, err := answerer.Subscribe("$JS.API.>", func(m *nats.Msg) {
		n.Add(1)
		_ = m.Respond([]byte(text)) // the asker may be gone
	}); err != nil {
		t.Fatal(err)
	}
	if err := answerer.Flush(); err != nil {
		t.Fatal(err)
	}
	return n.Load
}
