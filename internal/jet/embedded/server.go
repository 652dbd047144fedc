package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"outlook-connector/internal/fault"
)

const (
	// DefaultMaxPayload is the largest message the server takes where the
	// options name no other: 8 MiB, the most that the server accepts without a
	// warning. Larger bodies go through the object store.
	DefaultMaxPayload = 8 << 20

	// maxMemory bounds memory streams. Only the short-lived slots of mailboxes
	// live there, a few hundred bytes each.
	maxMemory = 256 << 20

	// readyWithin is how long a server may take to recover its streams. Two
	// million messages took 0.1 s; the rest is room for a slow disk.
	readyWithin = 2 * time.Minute
)

// Options say where and how the server runs. StoreDir is the only one that
// must be set.
type Options struct {
	// StoreDir is the folder for the streams, the lock and the credential. It
	// is made with mode 0700 where it is missing.
	StoreDir string
	// Listen is the host and port of the listener, such as "127.0.0.1:4222";
	// port 0 takes a free one. Empty means no listener: only this process
	// reaches the server. Other addresses than loopback are refused.
	Listen string
	// FreePortIfTaken takes a free port of the same host where the one in
	// Listen is taken, instead of failing.
	FreePortIfTaken bool
	// Open lets everybody on this machine in without a password, for a
	// demonstration. The default demands the credential in StoreDir.
	Open bool
	// MaxPayload is the largest message in bytes; zero means
	// [DefaultMaxPayload].
	MaxPayload int32
	// MaxStore is the most that all streams may use on disk, in bytes; zero
	// means what they use already plus 80 % of the free space, so that a full
	// store is refused with an answer. A full disk gives no answer at all.
	MaxStore int64
	// SyncLate syncs the disk every two minutes, as nats-server does by itself,
	// and not before each answer. It is for measurements: a power cut would lose
	// what was acknowledged.
	SyncLate bool
	// ServerName shows in logs and in `nats server` output; empty means
	// "outlook-connector".
	ServerName string
	// Log takes the server's own log: notices at debug level, warnings and
	// errors at theirs. Nil discards it.
	Log *slog.Logger
}

// Server is a running embedded server. Its methods may be called at the same
// time.
type Server struct {
	nats     *server.Server
	context  Context
	lock     *folderLock
	maxStore int64

	stop    sync.Once
	stopped chan struct{}
	stopErr error
}

// Start runs a server and returns once it takes connections. [ErrLocked] says
// that another process runs one in the same folder: read its address with
// [ReadContext] and connect to it. The caller must call [Server.Stop].
//
// ctx bounds the start only; the server outlives it.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.StoreDir == "" {
		return nil, fault.New(fault.Fatal, "embedded nats: no data folder given").WithHint("set nats.embedded.store_dir")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	listener, err := parseListen(o.Listen)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(o.StoreDir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(o.StoreDir)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, o, listener, lock)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	return s, nil
}

// start runs the server under a lock that is already held.
func start(ctx context.Context, o Options, at listenAddress, lock *folderLock) (*Server, error) {
	credential, err := credentialFor(o.StoreDir, o.Open)
	if err != nil {
		return nil, err
	}
	maxStore := o.MaxStore
	if maxStore == 0 {
		maxStore = storeLimit(o.StoreDir)
	}
	s, err := boot(ctx, o, at, credential, maxStore)
	if err != nil && o.FreePortIfTaken && errors.Is(err, syscall.EADDRINUSE) {
		at.port = server.RANDOM_PORT
		s, err = boot(ctx, o, at, credential, maxStore)
	}
	if err != nil {
		return nil, err
	}
	if at.on {
		credential.URL = s.ClientURL()
	}
	running := &Server{nats: s, context: credential, lock: lock, maxStore: maxStore, stopped: make(chan struct{})}
	if err := credential.write(o.StoreDir); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, err
	}
	return running, nil
}

// boot makes and starts one server and waits until it takes connections.
func boot(ctx context.Context, o Options, at listenAddress, credential Context, maxStore int64) (*server.Server, error) {
	options := &server.Options{
		ServerName:         cmp.Or(o.ServerName, "outlook-connector"),
		Host:               at.host,
		Port:               at.port,
		DontListen:         !at.on,
		Username:           credential.User,
		Password:           credential.Password.Reveal(),
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           o.StoreDir,
		SyncAlways:         !o.SyncLate, // the default syncs every two minutes, and a power cut then takes all of them
		JetStreamMaxMemory: maxMemory,
		JetStreamMaxStore:  maxStore,
		MaxPayload:         cmp.Or(o.MaxPayload, DefaultMaxPayload),
		MaxPending:         server.MAX_PENDING_SIZE,
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fault.New(fault.Fatal, "embedded nats: %w", err)
	}
	bridge := &logBridge{log: o.Log, fatal: make(chan string, 1)}
	s.SetLoggerV2(bridge, o.Log.Enabled(ctx, slog.LevelDebug), false, false)
	if at.on {
		// The server reports a taken port only to its log; asking first gives
		// an error that says so. The moment in between is covered by fatal.
		if err := probe(ctx, at); err != nil {
			return nil, err
		}
	}

	s.Start() // recovers the streams before it returns
	failed := waitReady(ctx, s, bridge)
	if failed == nil {
		return s, nil
	}
	s.Shutdown()
	s.WaitForShutdown()
	return nil, fault.New(fault.Fatal, "start embedded nats in %s: %w", o.StoreDir, failed)
}

// waitReady returns nil once the server takes connections and has JetStream.
func waitReady(ctx context.Context, s *server.Server, bridge *logBridge) error {
	const poll = 20 * time.Millisecond
	for deadline := time.Now().Add(readyWithin); ; {
		ready := s.ReadyForConnections(poll)
		select {
		case text := <-bridge.fatal:
			return errors.New(text)
		default:
		}
		switch {
		case ready && !s.JetStreamEnabled():
			return errors.New("jetstream did not start")
		case ready:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(deadline):
			return fmt.Errorf("not ready after %s", readyWithin)
		}
	}
}

// probe reports whether the address is free.
func probe(ctx context.Context, at listenAddress) error {
	if at.port == server.RANDOM_PORT {
		return nil
	}
	address := net.JoinHostPort(at.host, strconv.Itoa(at.port))
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return fault.New(fault.Fatal, "embedded nats: listen on %s: %w", address, err).
			WithHint("another program uses %s: stop it, or set nats.embedded.listen to another address or to \"\"", address)
	}
	return l.Close()
}

// InProcess returns the option with which [nats.Connect] reaches the server
// without a socket, credential included.
func (s *Server) InProcess() nats.Option {
	return func(o *nats.Options) error {
		o.InProcessServer = s.nats
		o.User = s.context.User
		o.Password = s.context.Password.Reveal()
		return nil
	}
}

// URL returns the listener's address, or "" where there is none.
func (s *Server) URL() string { return s.context.URL }

// Context returns how another process reaches the listener.
func (s *Server) Context() Context { return s.context }

// MaxStore returns how many bytes all streams together may use on disk.
func (s *Server) MaxStore() int64 { return s.maxStore }

// Healthy returns nil while the server serves and its streams are sound. A
// stream whose disk failed stays frozen until a restart, and only this says so.
func (s *Server) Healthy() error {
	if !s.nats.Running() {
		return fault.New(fault.Fatal, "embedded nats has stopped").WithHint("start the program again")
	}
	if status := s.nats.Healthz(nil); status.Error != "" {
		return fault.New(fault.Retry, "embedded nats: %s", status.Error).
			WithHint("look for disk errors and free space in the data folder, then restart the program")
	}
	return nil
}

// Stop shuts the server down, waits for its files to be closed and gives the
// folder's lock back. Connections should be drained before. It may be called
// twice; where ctx ends first, the shutdown goes on and the lock stays until it
// is done.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		go func() {
			defer close(s.stopped)
			s.nats.Shutdown()
			s.nats.WaitForShutdown()
			s.stopErr = s.lock.release()
		}()
	})
	select {
	case <-s.stopped:
		return s.stopErr
	case <-ctx.Done():
		return fmt.Errorf("stop embedded nats: %w", context.Cause(ctx))
	}
}

// makeFolder makes the data folder, or tightens the mode of one that exists.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.Fatal, "make data folder: %w", err).WithHint("set nats.embedded.store_dir to a folder that you may write")
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its execute bit
		return fault.New(fault.Fatal, "close data folder to others: %w", err).
			WithHint("the folder %s must belong to the user who runs the program", filepath.Clean(dir))
	}
	return nil
}
