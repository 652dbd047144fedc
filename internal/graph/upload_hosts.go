package graph

import (
	"net/url"
	"sync"

	"outlook-connector/internal/catalog"
)

// uploadOperation stands for the requests of upload sessions where the remedy of
// an error depends on the operation: the permissions are those of the session.
var uploadOperation = sync.OnceValue(func() *catalog.Operation {
	op, err := catalog.Default().Lookup("mail.messageAttachment.createUploadSession")
	if err != nil {
		panic("graph: the catalogue has no upload sessions: " + err.Error())
	}
	return op
})

// uploadHosts are the connections to the hosts of upload sessions, each pinned to
// its own. There are one or two in a client's life. The zero value is usable.
type uploadHosts struct {
	mu   sync.Mutex
	open map[origin]*transport
}

// to returns the connections to the host of an address, which was checked.
func (h *uploadHosts) to(address *url.URL, settings HTTP) *transport {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := originOf(address)
	if found := h.open[at]; found != nil {
		return found
	}
	if h.open == nil {
		h.open = make(map[origin]*transport, 1)
	}
	made := newTransport(&url.URL{Scheme: address.Scheme, Host: address.Host}, settings)
	h.open[at] = made
	return made
}

func (h *uploadHosts) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.open {
		t.close()
	}
}
