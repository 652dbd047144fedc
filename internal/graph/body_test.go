package graph_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"outlook-connector/internal/graph"
)

func TestABodyThatIsNoJSONIsSentByteForByteWithItsType(t *testing.T) {
	t.Parallel()
	for kind, body := range map[string][]byte{
		"image/jpeg": {0xff, 0xd8, 0xff, 0, 1, 2}, "text/plain": []byte("RnJvbTog"), "": []byte(`{"a":1}`),
	} {
		want := kind
		if kind == "" {
			want = "application/json"
		}
		w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, body) || r.Header.Get("Content-Type") != want || r.ContentLength != int64(len(body)) {
				t.Errorf("%d bytes %q of type %q: %v", r.ContentLength, got, r.Header.Get("Content-Type"), err)
			}
			rw.WriteHeader(http.StatusAccepted)
		}, nil)
		req := sendMail(t)
		req.Body, req.ContentType = body, kind
		if _, err := w.Do(t.Context(), req); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// writes counts what is written to a connection.
type writes struct {
	net.Conn

	n *atomic.Int32
}

// Write implements net.Conn.
func (w writes) Write(p []byte) (int, error) {
	w.n.Add(1)
	return w.Conn.Write(p)
}

func TestAMailOfSomeKilobytesLeavesInOnePiece(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.WriteHeader(http.StatusAccepted)
	}, func(o *graph.Options) {
		o.HTTP.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return writes{conn, &n}, err
		}
	})
	req := sendMail(t)
	req.Body = append(bytes.Repeat([]byte(" "), 10<<10), req.Body...)
	if _, err := w.Do(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if n.Load() != 1 {
		t.Errorf("it left in %d pieces", n.Load())
	}
}
