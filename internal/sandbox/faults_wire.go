package sandbox

// How an answer goes out: whole, slowly, cut, or not at all.

import (
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// write sends an answer as it says. The client may be gone; the effect stands.
func (s *Sandbox) write(w http.ResponseWriter, a *Answer) {
	if a.Late > 0 {
		s.pause(a.Late)
	}
	if a.Reset && a.Cut == 0 {
		cutConnection(w, true)
		return
	}
	maps.Copy(w.Header(), a.Header)
	if a.Status != http.StatusNoContent && a.Status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	body := a.Body
	if a.Cut != 0 && len(body) > 0 {
		body = body[:min(max(a.Cut, 0), len(body)-1)]
	}
	if a.Drip.Every > 0 && !s.drip(w, a.Drip, body) {
		cutConnection(w, false) // the sandbox is closing, or nobody reads any more
		return
	}
	if a.Drip.Every <= 0 {
		_, _ = w.Write(body) //nolint:gosec // JSON, or HTML that html/template escaped
	}
	if a.Cut != 0 || a.Gone {
		_ = http.NewResponseController(w).Flush()
		cutConnection(w, a.Reset)
	}
}

// drip sends a body in pieces, and says whether it came to its end.
func (s *Sandbox) drip(w http.ResponseWriter, d Drip, body []byte) bool {
	size := max(d.Bytes, 1)
	pause := time.NewTimer(d.Every)
	defer pause.Stop()
	for len(body) > 0 {
		n := min(size, len(body))
		if _, err := w.Write(body[:n]); err != nil { //nolint:gosec // as above
			return false
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return false
		}
		if body = body[n:]; len(body) == 0 {
			break
		}
		select {
		case <-pause.C:
			pause.Reset(d.Every)
		case <-s.stop:
			return false
		}
	}
	return true
}

// cutConnection closes the connection: with RST as a broken network does, where the system
// allows it, or in an orderly way.
func cutConnection(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
