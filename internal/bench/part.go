package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"time"

	"outlook-connector/internal/jet/embedded"
)

// Spec is what a part is told, as one line of JSON on its standard input.
type Spec struct {
	Sink   *SinkSpec   `json:"sink,omitempty"`
	Server *ServerSpec `json:"server,omitempty"`
	Raw    *RawSpec    `json:"raw,omitempty"`
	Worker *WorkerSpec `json:"worker,omitempty"`
	Feeds  *FeedsSpec  `json:"feeds,omitempty"`

	Effects *EffectsSpec `json:"effects,omitempty"`
	Bare    *BareSpec    `json:"bare,omitempty"`
}

// ServerSpec is a NATS server.
type ServerSpec struct {
	// Dir is its data folder.
	Dir string `json:"dir"`
	// SyncAlways syncs the disk before each answer.
	SyncAlways bool `json:"sync_always"`
	// CPUProfile is a file to write; empty means none.
	CPUProfile string `json:"cpu_profile,omitempty"`
}

// WorkerSpec is a worker.
type WorkerSpec struct {
	// Config is its configuration file.
	Config string `json:"config"`
	// CPUProfile and HeapProfile are files to write; empty means none.
	CPUProfile  string `json:"cpu_profile,omitempty"`
	HeapProfile string `json:"heap_profile,omitempty"`
}

// told is what a part answers, a line each: first that it is ready, and where;
// a part that ends by itself also with what it found.
type told struct {
	URL    string     `json:"url,omitempty"`
	Result *RawResult `json:"result,omitempty"`

	Feeds *FeedsResult `json:"feeds,omitempty"`
}

// Part runs a part of a benchmark until its standard input ends. The spec says
// which; worker runs one that needs the whole program.
func Part(ctx context.Context, in io.Reader, out io.Writer, worker func(ctx context.Context, spec WorkerSpec, ready func() error) error) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	var spec Spec
	if err := json.Unmarshal(line, &spec); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, lines) // whoever started it has ended, or wants it to end
		cancel()
	}()
	tell := func(t told) error { return json.NewEncoder(out).Encode(t) }
	switch {
	case spec.Sink != nil:
		return runSink(ctx, *spec.Sink, tell)
	case spec.Server != nil:
		return runServer(ctx, *spec.Server, tell)
	case spec.Raw != nil:
		result, err := publishRaw(ctx, *spec.Raw)
		if err != nil {
			return err
		}
		return tell(told{Result: &result})
	case spec.Feeds != nil:
		return runFeeds(ctx, *spec.Feeds, tell)
	case spec.Effects != nil:
		return runEffects(ctx, *spec.Effects, tell)
	case spec.Bare != nil:
		return runBare(ctx, *spec.Bare, tell)
	case spec.Worker != nil:
		return worker(ctx, *spec.Worker, func() error { return tell(told{}) })
	default:
		return errors.New("nothing to do")
	}
}

// runSink serves until ctx ends.
func runSink(ctx context.Context, spec SinkSpec, tell func(told) error) error {
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second}
	return serve(ctx, server, func(l net.Listener, url string) net.Listener {
		server.Handler = newSink(spec, url).handler()
		return l
	}, tell)
}

// serve tells where the server is and serves until ctx ends. Open is told the
// address before, and what it returns is served.
func serve(ctx context.Context, server *http.Server, open func(l net.Listener, url string) net.Listener, tell func(told) error) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	l = open(l, url)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := tell(told{URL: url}); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// runServer runs a NATS server until ctx ends.
func runServer(ctx context.Context, spec ServerSpec, tell func(told) error) error {
	end, err := profileCPU(spec.CPUProfile)
	if err != nil {
		return err
	}
	defer end()
	server, err := embedded.Start(ctx, embedded.Options{
		StoreDir: spec.Dir, Listen: "127.0.0.1:0", Open: true, SyncLate: !spec.SyncAlways, ServerName: "bench",
	})
	if err != nil {
		return err
	}
	if err = tell(told{URL: server.URL()}); err == nil {
		<-ctx.Done()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	return errors.Join(err, server.Stop(ctx))
}

// profileCPU writes a profile until the returned function is called; an empty
// path writes none.
func profileCPU(path string) (end func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close() // whoever reads a torn profile sees it
	}, nil
}
