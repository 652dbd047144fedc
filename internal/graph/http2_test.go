package graph_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

// h2Serve speaks HTTP/2 frame by frame: answer is called for each request
// (stream) once its body has arrived; n counts them from 1.
func h2Serve(t *testing.T, answer func(n int, framer *http2.Framer, stream uint32)) (base string, roots func(*graph.Options)) {
	t.Helper()
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	certificates.Close()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.NewListener(listener, &tls.Config{
		Certificates: certificates.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	})
	var requests atomic.Int32
	var wait sync.WaitGroup
	serve := func(conn net.Conn) {
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second)) // a client leaves a connection after GOAWAY open for a while
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := conn.Read(preface); err != nil {
			return
		}
		framer := http2.NewFramer(conn, conn)
		_ = framer.WriteSettings()
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			switch f := frame.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = framer.WriteSettingsAck()
				}
			case *http2.DataFrame:
				if f.StreamEnded() {
					answer(int(requests.Add(1)), framer, f.StreamID)
				}
			}
		}
	}
	wait.Go(func() {
		for {
			conn, err := secure.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() { _ = secure.Close(); wait.Wait() })
	return "https://" + listener.Addr().String(), func(o *graph.Options) {
		o.HTTP.RootCAs = x509.NewCertPool()
		o.HTTP.RootCAs.AddCert(certificates.Certificate())
	}
}

func accept(framer *http2.Framer, stream uint32) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "202"})
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
}

func TestHTTP2RepeatsOnlyWhatTheServerDidNotLookAt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first     func(*http2.Framer, uint32)
		done      bool
		processed int32 // requests that the server may have acted on
	}{
		"refused stream": {func(f *http2.Framer, s uint32) { _ = f.WriteRSTStream(s, http2.ErrCodeRefusedStream) }, true, 1},
		"goaway before":  {func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) }, true, 1},
		"internal error": {func(f *http2.Framer, s uint32) { _ = f.WriteRSTStream(s, http2.ErrCodeInternal) }, false, 1},
		"cancelled":      {func(f *http2.Framer, s uint32) { _ = f.WriteRSTStream(s, http2.ErrCodeCancel) }, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var processed atomic.Int32
			base, roots := h2Serve(t, func(n int, framer *http2.Framer, stream uint32) {
				if n == 1 {
					if !tc.done {
						processed.Add(1)
					}
					tc.first(framer, stream)
					return
				}
				processed.Add(1)
				accept(framer, stream)
			})
			w := connect(t, base, roots)
			t.Cleanup(w.Close)
			_, err := w.Do(t.Context(), sendMail(t))
			if tc.done && err != nil {
				t.Errorf("not repeated: %v", err)
			} else if !tc.done {
				wantFault(t, err, fault.Retry, true)
			}
			if processed.Load() != tc.processed {
				t.Errorf("%d effects, want %d", processed.Load(), tc.processed)
			}
		})
	}
}
