package worker_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet/embedded"
)

// natsServer is a NATS server that the configuration calls external.
type natsServer struct {
	*embedded.Server
	w       *world
	address string
}

// startNATS starts a NATS server at an address; its data are kept from one start
// to the next.
func (w *world) startNATS(address string, change ...func(*embedded.Options)) *natsServer {
	w.t.Helper()
	options := embedded.Options{StoreDir: filepath.Join(w.dir, "external-nats"), Listen: address, Open: true}
	for _, f := range change {
		f(&options)
	}
	s, err := embedded.Start(w.t.Context(), options)
	if err != nil {
		w.t.Fatal(err)
	}
	n := &natsServer{s, w, address}
	w.t.Cleanup(n.stop)
	return n
}

func (n *natsServer) stop() {
	n.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.w.t.Context()), patience)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		n.w.t.Errorf("stop nats: %v", err)
	}
}

func external(address string) string { return `{url: "nats://` + address + `"}` }

// TestAWorkerWaitsForNATS also has NATS go away and come back.
func TestAWorkerWaitsForNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	began := time.Now()
	r := w.start(w.config(setting{nats: external(address)}))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the start took %s: it waited for NATS", took)
	}
	unready := func(when string) {
		t.Helper()
		code, ready, conditions := r.readyz()
		if c := conditions["nats"]; code != http.StatusServiceUnavailable || ready || c.OK ||
			!strings.Contains(c.Cause, address) || !strings.Contains(c.Hint, "NATS") {
			t.Errorf("readyz %s: %d %+v", when, code, c)
		}
		if code, _ := r.get("/livez"); code != http.StatusOK {
			t.Errorf("livez %s: %d; it must not be restarted for that", when, code)
		}
		if code, _ := r.get("/metrics"); code != http.StatusOK {
			t.Errorf("metrics %s: %d", when, code)
		}
		if code, page := r.get("/"); code != http.StatusOK || !strings.Contains(page, address) {
			t.Errorf("page %s: %d\n%s", when, code, page)
		}
	}
	unready("before NATS is there")
	// A person does not wait for NATS to grant access.
	began = time.Now()
	r.grants()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the sign-in took %s without NATS", took)
	}
	server := w.startNATS(address)
	r.ready().primed().done(r.publish("send-mail", nil, mail("at last")))

	server.stop()
	until(t, "the worker to notice", func() bool { return !r.condition("nats").OK })
	unready("after NATS went")
	w.deliver("while NATS is away")
	w.startNATS(address)
	r.ready()
	if got := subjectsOf(r.events(1)); got[0] != "while NATS is away" {
		t.Errorf("events %q", got)
	}
	r.done(r.publish("send-mail", nil, mail("and again")))
	w.quietRounds(2)
	if sent, n := w.sent(), r.stored(); len(sent) != 2 || n != 1 {
		t.Errorf("sent %q, %d events", sent, n)
	}
}

// operator is somebody with the nats CLI, who may do anything at a server.
func operator(t *testing.T, address string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestAWorkerStopsWithoutNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	stops := func(what string, r *running) {
		began := time.Now()
		r.stop()
		// Of its 24 s it may wait a few for the lease and for the audit record.
		if took := time.Since(began); took > 16*time.Second {
			t.Errorf("%s: the stop took %s", what, took)
		}
	}
	stops("it never came", w.start(w.config(setting{nats: external(address)})))
	server := w.startNATS(address)
	r := w.start(w.config(setting{nats: external(address)})).signedIn().primed()
	server.stop()
	stops("it went", r)
}

// TestAWorkerThatNATSRefusesForNowGoesOn has the server answer while it cannot
// serve: JetStream of a cluster that has no leader yet.
func TestAWorkerThatNATSRefusesForNowGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	asked := leaderless(t, address)
	r := w.start(w.config(setting{nats: external(address)}))
	until(t, "a second try", func() bool { return asked() >= 2 })
	select {
	case err := <-r.Failed():
		t.Errorf("the worker gave up: %v", err)
	default:
	}
	until(t, "the condition to say why", func() bool {
		c := r.condition("streams")
		return !c.OK && strings.Contains(c.Cause, "temporarily unavailable")
	})
}
