package tokenstore

import (
	"context"
	"time"
)

// Renew asks the sign-in server for a new token now, whatever is at hand and
// however recently it was asked, and returns what came of it. It is for a person
// who wants to know whether a credential or a grant works.
func (k *Keeper) Renew(ctx context.Context, client string) error {
	h, err := k.holding(client)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if h.flight == nil {
		h.quiet, h.failure = time.Time{}, nil
		if err := h.obstacle(time.Now()); err != nil {
			h.mu.Unlock()
			return err
		}
		if h.flight, err = k.launch(ctx, h); err != nil {
			h.mu.Unlock()
			return err
		}
	}
	flight := h.flight
	h.mu.Unlock()
	return flight.wait(ctx, false)
}
