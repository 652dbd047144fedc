package worker_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/worker"
)

// hostOf returns host and port of a URL.
func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		t.Fatalf("address %q: %v", address, err)
	}
	return u.Host
}

// free checks that nothing of an earlier worker is left: a new one on the same
// folder has NATS and the tokens for itself.
func (w *world) free(s setting) {
	w.t.Helper()
	r := w.start(w.config(s)).ready()
	if r.NATSURL() == "" {
		w.t.Error("the folder of the embedded NATS is still locked: the new worker joined somebody")
	}
	if role := r.status().TokenRole; role != "owner" {
		w.t.Errorf("the new worker's token role is %q: the token store is still held", role)
	}
	r.stop()
}

func TestAWorkerThatWasStoppedLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := setting{http: freeAddress(t)}
	r := w.start(w.config(s)).ready()
	addresses := []string{hostOf(t, r.HTTPURL()), hostOf(t, r.NATSURL())}
	if addresses[0] != s.http {
		t.Errorf("http at %s, want %s", addresses[0], s.http)
	}
	for _, address := range addresses {
		if !listens(address) {
			t.Errorf("nobody listens at %s while the worker runs", address)
		}
	}
	r.stop()
	for _, address := range addresses {
		if listens(address) {
			t.Errorf("somebody listens at %s after Stop", address)
		}
	}
	select {
	case err := <-r.Failed():
		t.Errorf("an orderly end is a failure: %v", err)
	default:
	}
	w.free(s)
}

func TestStopMayComeEarlyTwiceAndFromTwoSides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.make(w.config(setting{}))
	r.stop() // before Start
	if err := r.Start(t.Context()); err != nil {
		t.Fatalf("start after an early stop: %v", err)
	}
	r.ready()
	var both sync.WaitGroup
	both.Go(r.stop)
	both.Go(r.stop)
	both.Wait()
	r.stop()
	if listens(hostOf(t, r.HTTPURL())) {
		t.Error("somebody listens after three stops")
	}
}

func TestStartTwiceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{}))
	if err := r.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "started already") {
		t.Errorf("second start: %v", err)
	}
	r.ready()
	if code, _ := r.get("/readyz"); code != http.StatusOK {
		t.Errorf("the second start hurt the first: readyz answers %d", code)
	}
	r.stop()
	if err := r.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "started already") {
		t.Errorf("start after stop: %v", err)
	}
}

// TestAFailedStartLeavesNothing breaks each step of the start and looks whether
// the steps before it were taken back.
func TestAFailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	taken := func(t *testing.T) string {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l.Addr().String()
	}
	aFile := func(t *testing.T, w *world, name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte("not what you expect"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, row := range map[string]struct {
		spoil func(t *testing.T, w *world) setting
		says  string
	}{
		"nats folder is a file": {func(t *testing.T, w *world) setting {
			t.Helper()
			aFile(t, w, "occupied")
			return setting{nats: `{embedded: {store_dir: ./occupied, listen: "127.0.0.1:0"}}`}
		}, "data folder"},
		"nats port is taken": {func(t *testing.T, _ *world) setting {
			t.Helper()
			return setting{nats: `{embedded: {store_dir: ./nats, listen: "` + taken(t) + `"}}`}
		}, "in use"},
		"token key is another": {func(_ *testing.T, w *world) setting {
			w.start(w.config(setting{})).ready().stop()
			w.writeKey("another.key")
			return setting{key: "another.key"}
		}, "key"},
		"token store is damaged": {func(t *testing.T, w *world) setting {
			t.Helper()
			aFile(t, w, "broken.db")
			return setting{tokens: "./broken.db"}
		}, "broken.db"},
		"http port is taken": {func(t *testing.T, _ *world) setting {
			t.Helper()
			return setting{http: taken(t)}
		}, "in use"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.make(w.config(row.spoil(t, w)))
			began := time.Now()
			err := r.Start(t.Context())
			if err == nil {
				r.stop()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), row.says) || fault.HintOf(err) == "" {
				t.Errorf("the error is %q with the hint %q, want one that says %q and what to do", err, fault.HintOf(err), row.says)
			}
			if took := time.Since(began); took > patience/2 {
				t.Errorf("the failure took %s", took)
			}
			if err := r.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "started already") {
				t.Errorf("start after a failed start: %v", err)
			}
			w.free(setting{}) // before anybody calls Stop
			r.stop()
		})
	}
}

func TestAStartThatIsCancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := w.make(w.config(setting{}))
	err := r.Start(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("start under a context that has ended: %v", err)
	}
	if strings.Contains(err.Error(), "stop ") {
		t.Errorf("what was started was not waited for: %v", err)
	}
	w.free(setting{})
	r.stop()
}

func TestTheContextOfStartIsNotThatOfTheWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := w.make(w.config(setting{}))
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	cancel()
	r.signedIn().primed().done(r.publish("send-mail", nil, mail("later")))
	w.deliver("after the cancel")
	if got := subjectsOf(r.events(1)); got[0] != "after the cancel" {
		t.Errorf("events %q", got)
	}
}

func TestTwoWorkersWithFoldersOfTheirOwnDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.start(w.config(setting{})).signedIn().primed()
	two := w.start(w.config(setting{
		nats: `{embedded: {store_dir: ./nats-two, listen: "127.0.0.1:0"}}`, tokens: "./tokens-two.db",
	})).ready()
	if state := two.status().Clients[0].State; state != "no_grant" {
		t.Errorf("the grant of one shows at the other: %s", state)
	}
	one.done(one.publish("send-mail", nil, mail("of one")))
	w.deliver("for one")
	one.events(1)
	if n := two.stored(); n > 0 {
		t.Errorf("the other has %d events of the first", n)
	}
	one.stop()
	two.signedIn().done(two.publish("send-mail", nil, mail("of two")))
}

func TestAWorkerWithoutTheRoleHasNoHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := setting{http: freeAddress(t)}
	r := w.start(w.config(s), func(o *worker.Options) { o.Roles = []worker.Role{worker.RolePublisher, worker.RoleTokens} }).ready()
	if r.HTTPURL() != "" || listens(s.http) {
		t.Errorf("http at %q", r.HTTPURL())
	}
	if feeds := r.Status(t.Context()).Feeds; len(feeds) > 0 {
		t.Errorf("a worker without the role has feeds: %v", feeds)
	}
	if c := r.condition("feeds/contoso"); c.Code != "" {
		t.Errorf("condition %+v", c)
	}
}

func TestNewRefusesWhatCannotRun(t *testing.T) {
	t.Parallel()
	if _, err := worker.New(worker.Options{}); err == nil {
		t.Error("no configuration, no error")
	}
	w := newWorld(t)
	_, err := worker.New(worker.Options{Config: w.config(setting{}), Roles: []worker.Role{"poller"}})
	if err == nil || !strings.Contains(err.Error(), `"poller"`) || !strings.Contains(err.Error(), "subscriber") {
		t.Errorf("unknown role: %v", err)
	}
}
