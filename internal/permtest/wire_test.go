package permtest_test

import (
	"bufio"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// wire is a way to the server that notes what a client publishes to and
// subscribes to. The first message of the audit record goes there twice, as one
// does whose answer was lost: first with nobody to hear the answer.
type wire struct {
	listener net.Listener
	server   string

	mu         sync.Mutex
	publish    map[string]bool
	subscribe  map[string]bool
	conns      []net.Conn
	closed     bool
	repeated   bool
	connecting sync.WaitGroup
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, server: server, publish: map[string]bool{}, subscribe: map[string]bool{}}
	w.connecting.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			w.connecting.Go(func() { w.carry(client) })
		}
	})
	t.Cleanup(w.close)
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) close() {
	_ = w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.connecting.Wait()
}

func (w *wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = c.Close()
		return false
	}
	w.conns = append(w.conns, c)
	return true
}

func (w *wire) carry(client net.Conn) {
	server, err := (&net.Dialer{}).Dial("tcp", w.server)
	if err != nil {
		_ = client.Close()
		return
	}
	if !w.keep(client) || !w.keep(server) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	w.forward(server, bufio.NewReaderSize(client, 64<<10))
	_ = server.Close()
	back.Wait()
}

// forward reads the client's half of the protocol until it ends:
// https://docs.nats.io/reference/reference-protocols/nats-protocol
func (w *wire) forward(server io.Writer, r *bufio.Reader) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		text := []byte(line)
		words := strings.Fields(line)
		if len(words) > 1 {
			switch strings.ToUpper(words[0]) {
			case "PUB", "HPUB":
				size, err := strconv.Atoi(words[len(words)-1])
				if err != nil {
					return
				}
				body := make([]byte, size+len("\r\n"))
				if _, err := io.ReadFull(r, body); err != nil {
					return
				}
				w.note(w.publish, words[1])
				text = append(text, body...)
				if strings.HasPrefix(words[1], "outlook.audit.") && w.first() {
					unheard := strings.Join(slices.Delete(words, 2, 3), " ") + "\r\n"
					text = slices.Concat([]byte(unheard), body, text)
				}
			case "SUB":
				w.note(w.subscribe, words[1])
			}
		}
		if _, err := server.Write(text); err != nil {
			return
		}
	}
}

// first reports whether it is called for the first time.
func (w *wire) first() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.repeated
	w.repeated = true
	return !was
}

func (w *wire) note(in map[string]bool, subject string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in[subject] = true
}

// used returns what was published to and subscribed to so far.
func (w *wire) used() (publish, subscribe []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.publish)), slices.Sorted(maps.Keys(w.subscribe))
}
