package sandbox

// Delivery of change notifications: one worker for each address while there is
// something to tell, several notifications in one POST, 2xx expected within 3 s,
// repeated with growing pauses for 4 hours. Then it is lost and the lifecycle
// address is told "missed". Own writes are notified as well; notifications say
// which item changed, not how.
// https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
//
// A message that moves is "deleted" and "created" to subscriptions on folders and
// "updated" to one on the whole mailbox; the documentation does not say. Left
// out: the slowing down and dropping of endpoints that answer slowly, duplicates,
// the "updated" that follows the "created" of real new mail, the order that real
// notifications do not keep. Queues live in memory.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	notificationWait   = 3 * time.Second
	notificationGiveUp = 4 * time.Hour
	notificationsAPost = 50
	notificationQueue  = 10_000 // an address; older ones are lost beyond it
)

// noteBook delivers notifications.
type noteBook struct {
	client *http.Client
	life   context.Context // ends with the sandbox
	end    context.CancelFunc
	wait   *sync.WaitGroup

	mu     sync.Mutex
	queues map[string][]note // by address; there is a worker while there is an entry
}

// note is one notification on its way.
type note struct {
	body      []byte
	since     time.Time
	lifecycle string // where to tell that it was lost
	id        string // of the subscription
}

func newNoteBook(wait *sync.WaitGroup) *noteBook {
	b := &noteBook{
		client: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: 2},
			// A redirect is no 200.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		wait: wait, queues: map[string][]note{},
	}
	b.life, b.end = context.WithCancel(context.Background())
	return b
}

// post sends a body and waits for the head of the answer. The sandbox's end ends
// it, too.
func (b *noteBook) post(address, kind string, body []byte, within time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(b.life, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	// The answers that count are short: read them before the context ends.
	defer resp.Body.Close()
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(http.MaxBytesReader(nil, resp.Body, 64<<10)); err != nil {
		return nil, err
	}
	resp.Body = &memoryBody{bytes.NewReader(buf.Bytes())}
	return resp, nil
}

// memoryBody is a body that was read already.
type memoryBody struct{ *bytes.Reader }

// Close does nothing.
func (*memoryBody) Close() error { return nil }

// add queues a notification and sees that somebody delivers it.
func (b *noteBook) add(address string, n note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue, working := b.queues[address]
	if len(queue) >= notificationQueue {
		queue = queue[1:]
	}
	b.queues[address] = append(queue, n)
	if working {
		return
	}
	select {
	case <-b.life.Done():
		delete(b.queues, address)
	default:
		b.wait.Go(func() { b.deliver(address) })
	}
}

// close ends deliveries and sees that none begins any more.
func (b *noteBook) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end()
}

// deliver empties the queue of an address.
func (b *noteBook) deliver(address string) {
	pause := time.Second
	for {
		b.mu.Lock()
		some := slices.Clone(b.queues[address])
		if len(some) == 0 {
			delete(b.queues, address)
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		some = some[:min(len(some), notificationsAPost)]
		if b.postAll(address, some) == nil {
			b.forget(address, some)
			pause = time.Second
			continue
		}
		lost := slices.DeleteFunc(slices.Clone(some), func(n note) bool { return time.Since(n.since) < notificationGiveUp })
		b.forget(address, lost)
		for _, n := range lost {
			if n.lifecycle != "" && n.lifecycle != address {
				b.add(n.lifecycle, note{body: lifecycleBody(n.id, "missed"), since: time.Now(), id: n.id})
			}
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-b.life.Done():
			t.Stop()
			b.mu.Lock()
			delete(b.queues, address)
			b.mu.Unlock()
			return
		}
		pause = min(2*pause, time.Minute)
	}
}

func (b *noteBook) postAll(address string, some []note) error {
	body := []byte(`{"value":[`)
	for i, n := range some {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, n.body...)
	}
	resp, err := b.post(address, "application/json; charset=utf-8", append(body, ']', '}'), notificationWait)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}

// forget takes delivered or lost notifications off the queue.
func (b *noteBook) forget(address string, some []note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queues[address] = slices.DeleteFunc(b.queues[address], func(n note) bool {
		return slices.ContainsFunc(some, func(o note) bool { return &o.body[0] == &n.body[0] })
	})
}

// happening is a change of an item, seen before it is made.
type happening struct {
	box     *mailbox
	kind    string
	in      uint64 // where it is now, or was
	from    uint64 // where it was before a move
	what    string // created, updated or deleted
	message *message
	entity  *entity
}

// watcher collects what happens in a change; nil when nobody is subscribed.
func (st *state) watcher(into *[]happening) func(record) {
	if st.directory == nil || len(st.directory.in(0, "subscription")) == 0 {
		return nil
	}
	return func(r record) {
		if h, ok := st.happens(r); ok {
			*into = append(*into, h)
		}
	}
}

// happens says what a record, before it is applied, does to a message or an
// entity; ok is false where it is about neither.
func (st *state) happens(r record) (h happening, ok bool) {
	box := st.byName[r.Box]
	if box == nil {
		return h, false
	}
	h = happening{box: box, what: "updated"}
	switch {
	case r.Message != nil:
		h.kind, h.message, h.in, h.from = "message", r.Message, r.Message.Folder, r.Message.Folder
		if old := box.messages[r.Message.Key]; old == nil {
			h.what = "created"
		} else {
			h.from = old.Folder
		}
	case r.Drop != nil && box.messages[r.Drop.Key] != nil:
		h.what, h.kind, h.message = "deleted", "message", box.messages[r.Drop.Key]
		h.in, h.from = h.message.Folder, h.message.Folder
	case r.Entity != nil:
		h.kind, h.entity, h.in, h.from = r.Entity.Type, r.Entity, r.Entity.In, r.Entity.In
		if old := box.entities[r.Entity.Key]; old == nil {
			h.what = "created"
		} else {
			h.from = old.In
		}
	case r.NoEntity != nil && box.entities[r.NoEntity.Key] != nil:
		h.what, h.entity = "deleted", box.entities[r.NoEntity.Key]
		h.kind, h.in, h.from = h.entity.Type, h.entity.In, h.entity.In
	default:
		return h, false
	}
	return h, true
}

// notify queues the notifications of what happened. It needs the lock.
func (s *Sandbox) notify(st *state, list []happening) {
	now := time.Now()
	for _, h := range list {
		for _, e := range st.directory.in(0, "subscription") {
			about := aboutOf(e)
			if about.box != h.box.ID || about.kind != h.kind || !now.Before(subscriptionEnd(e)) {
				continue
			}
			for _, what := range h.tellTo(about) {
				if slices.Contains(strings.Split(e.text("changeType"), ","), what) && s.passes(h, about) {
					s.notes.add(e.text("notificationUrl"), note{
						body: notificationBody(st, e, h, what), since: now, id: e.ID, lifecycle: e.text("lifecycleNotificationUrl"),
					})
				}
			}
		}
	}
}

// tellTo says what a change is to a subscription.
func (h happening) tellTo(about subscribed) []string {
	switch {
	case about.in == 0, h.in == h.from && h.in == about.in:
		return []string{h.what}
	case h.in == h.from:
		return nil
	case h.in == about.in:
		return []string{"created"}
	case h.from == about.in:
		return []string{"deleted"}
	}
	return nil
}

// passes tries the $filter of a subscription.
func (s *Sandbox) passes(h happening, about subscribed) bool {
	if about.filter == "" {
		return true
	}
	if h.message != nil {
		f, err := parseFilter(about.filter, messageFields())
		return err == nil && f.test(h.message)
	}
	c := &call{Sandbox: s, box: h.box}
	f, err := parseFilter(about.filter, c.entityFields(&resource{kind: about.kind}))
	return err == nil && f.test(h.entity)
}

// notificationBody is one change notification.
func notificationBody(st *state, e *entity, h happening, what string) []byte {
	immutable, _ := e.Hidden["immutable"].(bool)
	set, kind := "Messages", "Message"
	var id string
	var seq int64
	if h.message != nil {
		v := view{box: h.box, immutable: immutable}
		id, seq = v.id(h.message), h.message.Seq
	} else {
		id, seq = entityID(h.box, h.entity, immutable), h.entity.Seq
		kind = strings.ToUpper(h.kind[:1]) + h.kind[1:]
		set = kind + "s"
	}
	owner := "Users/"
	if h.box.kind == kindGroup {
		owner = "Groups/"
	}
	path := owner + h.box.ID + "/" + set + "/" + id
	n := map[string]any{
		"subscriptionId": e.ID, "subscriptionExpirationDateTime": e.text("expirationDateTime"),
		"changeType": what, "tenantId": st.Tenant, "resource": path,
		"resourceData": map[string]any{
			"@odata.type": "#Microsoft.Graph." + kind, "@odata.id": path, "@odata.etag": etag(seq), "id": id,
		},
	}
	if state := e.text("clientState"); state != "" {
		n["clientState"] = state
	}
	return appendJSON(nil, n)
}

func lifecycleBody(id, event string) []byte {
	return appendJSON(nil, map[string]any{"subscriptionId": id, "lifecycleEvent": event})
}

// SendLifecycle tells a subscription's lifecycle address of an event:
// reauthorizationRequired, subscriptionRemoved (which also removes it) or missed.
// https://learn.microsoft.com/graph/change-notifications-lifecycle-events
func (s *Sandbox) SendLifecycle(subscriptionID, event string) error {
	if !slices.Contains([]string{"reauthorizationRequired", "subscriptionRemoved", "missed"}, event) {
		return fmt.Errorf("sandbox: %q is no lifecycle event", event)
	}
	return s.update(func(t *tx) error {
		e := t.directory.entities[t.directory.names["subscription "+strings.ToLower(subscriptionID)]]
		if e == nil {
			return fmt.Errorf("sandbox: no subscription %s", subscriptionID)
		}
		address := e.text("lifecycleNotificationUrl")
		if address == "" {
			return fmt.Errorf("sandbox: subscription %s has no lifecycle address", subscriptionID)
		}
		body := appendJSON(nil, map[string]any{
			"subscriptionId": e.ID, "subscriptionExpirationDateTime": e.text("expirationDateTime"),
			"tenantId": t.Tenant, "clientState": e.text("clientState"), "lifecycleEvent": event, "resource": e.text("resource"),
		})
		if event == "subscriptionRemoved" {
			t.removeEntity(t.directory, e)
		}
		s.notes.add(address, note{body: body, since: time.Now(), id: e.ID})
		return nil
	})
}
