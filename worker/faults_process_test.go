package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"sync"

	"outlook-connector/publisher"
)

// process is one life of a worker: Outlook, the ledger and the listeners as one
// publisher reaches them. When it dies, nothing of it comes through any more.
type process struct {
	*cell
	outlook publisher.Outlook

	mu    sync.Mutex
	isOut bool // it is dead
}

// die ends the goroutine of the delivery. It must not be a panic: the publisher
// would survive that.
func (p *process) die() {
	p.mu.Lock()
	p.isOut = true
	p.mu.Unlock()
	runtime.Goexit()
}

func (p *process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isOut
}

var errNoAnswer = errors.New("no answer")

// Load and Save of the dead say that somebody else has the command, so that what is
// left of it gives up at once.
func (p *process) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	if p.dead() {
		return []byte("gone"), 0, nil
	}
	return p.kept.Load(ctx, key)
}

func (p *process) Save(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	if p.dead() {
		return 0, publisher.ErrConflict
	}
	var is struct{ State string }
	if err := json.Unmarshal(data, &is); err != nil {
		return 0, err
	}
	last := is.State == "done" || is.State == "failed" || is.State == "uncertain"
	if is.State == "sending" && revision == p.kept.revisions[key] && p.begins(data) {
		switch {
		case p.now(recording):
			p.die()
		case p.now(recordFails):
			return 0, errNoAnswer
		}
	}
	revision, err := p.kept.Save(ctx, key, data, revision)
	switch {
	case err != nil || !last:
	case p.now(ended):
		p.die()
	case p.now(endUnknown):
		return 0, errNoAnswer
	}
	return revision, err
}

// Do lets the publisher speak of another address for notifications than the
// sandbox hears of, which trusts no certificate of a test.
func (p *process) Do(ctx context.Context, call publisher.Call) (publisher.Answer, error) {
	if p.dead() {
		return publisher.Answer{}, errNoAnswer
	}
	strikes := writes(call.Method) && p.counts()
	if strikes && p.now(requesting) {
		p.die()
	}
	there, here := []byte(p.table.hooks), []byte("https://hooks.contoso.example/outlook")
	call.Body = bytes.ReplaceAll(call.Body, here, there)
	answer, err := p.outlook.Do(ctx, call)
	answer.Body = bytes.ReplaceAll(answer.Body, there, here)
	if strikes && p.now(answered) {
		p.die()
	}
	return answer, err
}

func (p *process) Ready(ctx context.Context, client string) error {
	return p.outlook.Ready(ctx, client)
}

func (p *process) Begin(ctx context.Context, id string, body []byte) func() error {
	if p.dead() || p.now(telling) {
		return func() error { return errNoAnswer }
	}
	return p.kept.Begin(ctx, id, body)
}

func (p *process) Told(ctx context.Context, id string) ([]byte, error) {
	if p.dead() {
		return nil, errNoAnswer
	}
	return p.kept.Told(ctx, id)
}

func (*process) Reply(context.Context, string, []byte) error { return nil }

func (p *process) Dead(_ context.Context, _ string, l publisher.DeadLetter) error {
	if p.dead() {
		return errNoAnswer
	}
	p.letters[l.DedupeID] = l
	return nil
}
