package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// EffectsSpec is a sink of commands: it takes any request, after a delay.
type EffectsSpec struct {
	// Delay is how long each answer takes.
	Delay time.Duration `json:"delay"`
}

// EffectsState is how far such a sink is.
type EffectsState struct {
	// Requests is how many were answered since it was last told to hold. Commands
	// is how many different commands were done so far, and Repeats how many
	// requests did one again.
	Requests int `json:"requests"`
	Commands int `json:"commands"`
	Repeats  int `json:"repeats"`
	// InFlight is how many requests are here now, and MostInFlight how many there
	// were at most since it was last told to hold.
	InFlight     int `json:"in_flight"`
	MostInFlight int `json:"most_in_flight"`
	// Connections is how many connections there were at most over which requests
	// came, other than those for tokens and of the measurement itself.
	Connections int `json:"connections"`
}

// sinkHold lets requests wait until sinkGo.
const sinkHold = "/bench/hold"

// commandMark stands in the text of a command before its number.
const commandMark = "bench-command-"

// effects takes requests. It looks into none of them but for the command's
// number, and knows nothing of Graph but how much of an answer is needed.
type effects struct {
	spec EffectsSpec

	mu    sync.Mutex
	state EffectsState
	seen  []bool // by the command's number
	open  int    // connections that had a request
	held  chan struct{}
	pool  sync.Pool
}

func newEffects(spec EffectsSpec) *effects {
	e := &effects{spec: spec}
	e.pool.New = func() any { return new(bytes.Buffer) }
	return e
}

// connKey is the context's key of a connection.
type connKey struct{}

// connection is marked by its first request.
type connection struct{ used atomic.Bool }

// begin gives each connection its mark; for [http.Server].ConnContext.
func (e *effects) begin(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*markedConn); ok {
		return context.WithValue(ctx, connKey{}, &c.connection)
	}
	return ctx
}

// change counts the ends of connections; for [http.Server].ConnState.
func (e *effects) change(c net.Conn, to http.ConnState) {
	if to != http.StateClosed && to != http.StateHijacked {
		return
	}
	if c, ok := c.(*markedConn); ok && c.used.Load() {
		e.mu.Lock()
		e.open--
		e.mu.Unlock()
	}
}

// marking is a listener whose connections can be marked.
type marking struct{ net.Listener }

// markedConn is a connection of it.
type markedConn struct {
	net.Conn

	connection
}

// Accept implements net.Listener.
func (m marking) Accept() (net.Conn, error) {
	c, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &markedConn{Conn: c}, nil
}

func (e *effects) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+sinkToken, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": "bench"})
	})
	mux.HandleFunc("GET "+sinkState, func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		answer(w, e.state)
	})
	mux.HandleFunc("POST "+sinkHold, func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.held = make(chan struct{})
		e.state.MostInFlight, e.state.Requests = e.state.InFlight, 0
		answer(w, struct{}{})
	})
	mux.HandleFunc("POST "+sinkGo, func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.held != nil {
			close(e.held)
			e.held = nil
		}
		answer(w, struct{}{})
	})
	mux.HandleFunc(sinkBase+"/", e.take)
	return mux
}

// take takes a request and answers after the delay.
func (e *effects) take(w http.ResponseWriter, r *http.Request) {
	text, _ := e.pool.Get().(*bytes.Buffer)
	defer e.pool.Put(text)
	text.Reset()
	if _, err := text.ReadFrom(r.Body); err != nil {
		return // the sender is gone
	}
	held := e.came(r)
	number, isCommand := numberIn(text.Bytes())
	if !e.wait(r.Context(), held) {
		e.went(0, false, false)
		return
	}
	e.went(number, isCommand, true)
	reply(w, r, number)
}

// came counts a request that has come, and returns what it has to wait for.
func (e *effects) came(r *http.Request) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, ok := r.Context().Value(connKey{}).(*connection); ok && !c.used.Swap(true) {
		e.open++
		e.state.Connections = max(e.state.Connections, e.open)
	}
	e.state.InFlight++
	e.state.MostInFlight = max(e.state.MostInFlight, e.state.InFlight)
	return e.held
}

// wait waits for the word to go, if there is one to wait for, and the delay. It
// returns false where the sender has gone.
func (e *effects) wait(ctx context.Context, held <-chan struct{}) bool {
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return false
		}
	}
	return e.spec.Delay <= 0 || pause(ctx, e.spec.Delay) == nil
}

// went counts a request that goes.
func (e *effects) went(number uint64, isCommand, answered bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.InFlight--
	if answered {
		e.state.Requests++
	}
	if !answered || !isCommand || number >= maxCommands {
		return
	}
	for uint64(len(e.seen)) <= number {
		e.seen = append(e.seen, make([]bool, 1<<16)...)
	}
	if e.seen[number] {
		e.state.Repeats++
		return
	}
	e.seen[number] = true
	e.state.Commands++
}

// reply answers as much as a client of Graph needs: a user and something that
// was made have an id, and of what is looked for there is nothing.
func reply(w http.ResponseWriter, r *http.Request, number uint64) {
	text, status := `{"value":[]}`, http.StatusOK
	switch user, isUser := strings.CutPrefix(r.URL.Path, sinkBase+"/users/"); {
	case r.Method == http.MethodGet && isUser && !strings.Contains(user, "/"):
		sum := sha256.Sum256([]byte(user))
		text = fmt.Sprintf(`{"id":"%x-%x-%x-%x-%x"}`, sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	case r.Method == http.MethodGet:
	case strings.HasSuffix(r.URL.Path, "/sendMail") || strings.HasSuffix(r.URL.Path, "/send"):
		w.WriteHeader(http.StatusAccepted)
		return
	default:
		text, status = fmt.Sprintf(`{"id":"AAMkAGI2%016x"}`, number), http.StatusCreated
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) //nolint:gosec // G705: nobody looks at it with a browser; and the reader may be gone
}

// numberIn finds the number of the command in a request.
func numberIn(text []byte) (uint64, bool) {
	at := bytes.Index(text, []byte(commandMark))
	if at < 0 || len(text) < at+len(commandMark)+len(mark) {
		return 0, false
	}
	number, err := strconv.ParseUint(string(text[at+len(commandMark):][:len(mark)]), 16, 64)
	return number, err == nil
}

// runEffects serves until ctx ends.
func runEffects(ctx context.Context, spec EffectsSpec, tell func(told) error) error {
	e := newEffects(spec)
	server := &http.Server{ConnContext: e.begin, ConnState: e.change, ReadHeaderTimeout: 10 * time.Second}
	return serve(ctx, server, func(l net.Listener, _ string) net.Listener {
		server.Handler = e.handler()
		return marking{l}
	}, tell)
}
