package tokenstore

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

// install makes a grant, just read or just saved, the one in use. The caller
// holds mu, or is the only one who knows the holding.
func (h *holding) install(grant *Grant) {
	h.grant, h.unsaved, h.claims = grant, nil, ""
	h.ready.Store(nil)
	h.quiet, h.failure = time.Time{}, nil
	h.pause.Reset()
	if grant != nil {
		h.renewAt = grant.token().renewal()
	}
}

// hush keeps token requests back until a moment; callers get the failure.
func (h *holding) hush(until time.Time, failure *fault.Error) {
	h.quiet, h.failure = until, failure
}

// usable returns the token in use if it lives and Graph takes it.
func (h *holding) usable(now time.Time) Token {
	if h.grant == nil || h.grant.Generation == h.rejected || !h.sameApp() {
		return Token{}
	}
	token := h.grant.token()
	if token.left(now) <= 0 {
		return Token{}
	}
	return token
}

func (h *holding) living(now time.Time) Token {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.usable(now)
}

// sameApp reports whether the grant came from the application and the server
// that are configured now. The refresh token of one server must not be sent to
// another because somebody changed an address.
func (h *holding) sameApp() bool {
	return h.grant.ClientID == h.client.ClientID && h.grant.TokenHost == h.host &&
		h.grant.appOnly() == h.client.appOnly()
}

// obstacle returns why no token request can be made now, or nil. The caller
// holds mu.
func (h *holding) obstacle(now time.Time) error {
	name := h.client.Name
	appOnly := h.client.appOnly() // it needs no grant to ask for a token
	switch {
	case h.grant == nil && !appOnly:
		return fault.New(fault.Reauth, "nobody has signed in for client %s", name).WithCode("no_grant").WithHint("%s", signInHint(name))
	case !appOnly && !h.sameApp():
		return fault.New(fault.Reauth, "the grant of client %s is of another application or sign-in server", name).
			WithCode("other_app").WithHint("%s", signInHint(name))
	case !appOnly && h.grant.State == StateNeedsReauth:
		return fault.New(fault.Reauth, "the sign-in server ended the grant of client %s: %s", name, h.grant.Reason).
			WithCode(h.grant.Reason).WithHint("%s", signInHint(name))
	case !appOnly && h.grant.Refresh == "":
		return fault.New(fault.Reauth, "the grant of client %s has no refresh token", name).WithCode("no_refresh_token").
			WithHint("%s", h.client.noRefreshHint())
	case now.Before(h.quiet):
		waiting := *h.failure
		waiting.After = h.quiet.Sub(now)
		return &waiting
	case h.unsaved == nil && h.grant != nil && h.grant.Generation == h.rejected && now.Sub(h.forcedAt) < rejectGap:
		failure := fault.New(fault.Retry, "Graph rejects the fresh tokens of client %s", name).WithCode("token_rejected").
			WithHint("Look at what the directory says about sign-ins of this account: conditional access, a disabled account or licence.")
		failure.After = rejectGap - now.Sub(h.forcedAt)
		return failure
	}
	if !appOnly && h.unsaved == nil {
		if _, err := h.epoch(); err != nil {
			return err
		}
	}
	return nil
}

// launch begins a refresh. The caller holds h.mu.
func (k *Keeper) launch(ctx context.Context, h *holding) (*flight, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, fault.New(fault.Retry, "token of %s: %w", h.client.Name, errKeeperClosed)
	}
	f := &flight{began: time.Now(), done: make(chan struct{})}
	grant, unsaved, claims := h.grant, h.unsaved, h.claims
	k.flights.Go(func() {
		defer close(f.done)
		// The refresh is for all who wait: it does not end with the caller who
		// came first, but with the keeper.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTimeout)
		defer cancel()
		defer context.AfterFunc(k.life, cancel)() //nolint:contextcheck // the life of the service, not of a caller
		f.err = k.renew(ctx, h, grant, unsaved, claims)
		h.mu.Lock()
		h.flight = nil
		h.mu.Unlock()
	})
	return f, nil
}

// renew gets one new token, or saves what an earlier request gave.
func (k *Keeper) renew(ctx context.Context, h *holding, grant, next *Grant, claims string) error {
	if next == nil {
		var err error
		if next, err = h.request(ctx, grant, claims); err != nil {
			return k.refused(ctx, h, grant, claims, err)
		}
	}
	h.saving.Lock()
	defer h.saving.Unlock()
	if h.replaced(grant) {
		return nil // somebody signed in or out meanwhile: this is no longer wanted
	}
	// Before this write nobody may see the new token: a crash between the two
	// would leave workers with a token of a grant that the disk knows nothing of.
	if err := k.put(next); err != nil {
		return k.unsaved(ctx, h, next, err)
	}
	rotated := false
	h.mu.Lock()
	if grant != nil {
		rotated = next.Refresh != grant.Refresh
		if grant.Generation == h.rejected {
			h.forcedAt = time.Now()
		}
	}
	h.install(next)
	h.refreshed = time.Now()
	h.mu.Unlock()
	k.metrics.refreshed(next.Client, resultOK)
	k.metrics.expires(next.Client, next.Expiry)
	k.log.InfoContext(ctx, "token refreshed", "client", next.Client, "generation", next.Generation,
		"expires_in", time.Until(next.Expiry).Round(time.Second).String(), "rotated", rotated)
	return nil
}

// request asks the sign-in server for the next token: with the refresh token of
// the grant, or as the application itself.
func (h *holding) request(ctx context.Context, grant *Grant, claims string) (*Grant, error) {
	if !h.client.appOnly() {
		got, err := h.endpoint.refresh(ctx, grant.Refresh, claims)
		if err != nil {
			return nil, err
		}
		return grant.renewed(got), nil
	}
	got, err := h.endpoint.ownToken(ctx, claims)
	if err != nil {
		return nil, err
	}
	next := h.client.grant(GrantCredentials, got)
	next.Account, next.Refresh = Account{}, "" // nobody signed in
	h.mu.Lock()
	defer h.mu.Unlock()
	next.Generation = h.nextGeneration()
	return &next, nil
}

// renewed returns the grant after a refresh.
func (g *Grant) renewed(got answer) *Grant {
	next := *g
	next.Access, next.Issued, next.Expiry = got.access, got.issued, got.expiry
	next.Refresh = cmp.Or(got.refresh, g.Refresh)
	next.Generation++
	next.State, next.Reason, next.RefusedAt, next.Claims = StateOK, "", time.Time{}, ""
	if len(got.scopes) > 0 {
		next.Scopes = got.scopes
	}
	return &next
}

// replaced reports whether another grant took the place of this one.
func (h *holding) replaced(grant *Grant) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.grant != grant
}

// unsaved keeps what the server gave until the disk takes it. Asking the server
// again instead could cost the grant: its answer may have ended the old refresh
// token.
func (k *Keeper) unsaved(ctx context.Context, h *holding, next *Grant, err error) error {
	failure := *fault.Of(err)
	if failure.Kind == fault.Unknown { // of a vault that marks nothing
		failure = *unsaved(next.Client, err)
	}
	h.mu.Lock()
	h.unsaved = next
	failure.Kind = fault.Retry
	failure.After = h.pause.NextBackOff()
	h.hush(time.Now().Add(failure.After), &failure)
	h.mu.Unlock()
	k.metrics.refreshed(next.Client, resultNotSaved)
	k.log.ErrorContext(ctx, "refreshed token not saved", "client", next.Client, "error", err)
	return &failure
}

// refused deals with a refresh that gave no token.
func (k *Keeper) refused(ctx context.Context, h *holding, grant *Grant, claims string, err error) error {
	name := h.client.Name
	if k.life.Err() != nil {
		return fault.New(fault.Retry, "token of %s: %w", name, errKeeperClosed)
	}
	r := asRefusal(err)
	failure, result, level, now := r.fault(name), resultTransient, slog.LevelWarn, time.Now()
	switch r.verdict() {
	case transient:
		h.mu.Lock()
		failure.After = max(failure.After, h.pause.NextBackOff())
		h.mu.Unlock()
	case throttled:
		result = resultThrottled
	case administrator:
		result, level = resultAdministrator, slog.LevelError
	case refused:
		result = resultRefused
		if grant.RefusedAt.IsZero() || now.Sub(grant.RefusedAt) < secondRefusal {
			failure = refusedOnce(name)
			failure.Err = fmt.Errorf("token of %s: %w", name, r)
			k.note(ctx, h, grant, func(next *Grant) { next.RefusedAt = earlier(cmp.Or(grant.RefusedAt, now), now) })
			break
		}
		fallthrough
	case person:
		result, level = resultNeedsReauth, slog.LevelError
		k.note(ctx, h, grant, func(next *Grant) {
			next.State, next.Reason, next.Claims = StateNeedsReauth, r.code, seal.Secret(cmp.Or(r.claims, claims))
		})
		if grant != nil && grant.State != StateNeedsReauth {
			ended := grant.change(GrantEnded)
			ended.Reason = r.code
			k.changed(ctx, ended)
		}
	}
	h.mu.Lock()
	h.hush(now.Add(failure.After), failure)
	h.mu.Unlock()
	k.metrics.refreshed(name, result)
	k.log.Log(ctx, level, "token not refreshed", "client", name, "result", result, "error", r,
		"retry_in", failure.After.Round(time.Second).String(), "hint", failure.Hint)
	return failure
}

// refusedOnce is the answer between the first refusal and the second.
func refusedOnce(client string) *fault.Error {
	failure := fault.New(fault.Retry, "the sign-in server refused the grant of client %s once", client).WithCode("invalid_grant").
		WithHint("It is asked again in a minute. If it refuses again: outlook-connector auth login %s", client)
	failure.After = secondRefusal
	return failure
}

// note changes what is known of a grant, in memory and on disk. It must not be
// lost in memory; if the disk does not take it, it is found out again after the
// next start.
func (k *Keeper) note(ctx context.Context, h *holding, grant *Grant, change func(*Grant)) {
	h.saving.Lock()
	defer h.saving.Unlock()
	if h.replaced(grant) {
		return
	}
	next := *grant
	change(&next)
	if err := k.put(&next); err != nil {
		k.log.ErrorContext(ctx, "state of the grant not saved", "client", grant.Client, "error", err)
	}
	h.mu.Lock()
	h.grant = &next
	h.ready.Store(nil)
	h.mu.Unlock()
}
