package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"outlook-connector/internal/audit"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/retry"
	"outlook-connector/publisher"
	"outlook-connector/tokenstore"
)

// startAudit begins this process's chain of the audit record. It is ended after
// everything that adds to it.
func (w *Worker) startAudit(ctx context.Context) error {
	if !w.o.Config.Audit.Enabled {
		return nil
	}
	host, _ := os.Hostname()
	roles := make([]string, 0, len(w.o.Roles))
	for _, role := range w.o.Roles {
		roles = append(roles, string(role))
	}
	w.audit = audit.NewRecorder(audit.RecorderOptions{
		Store: &auditStore{conn: w.conn},
		Start: audit.Start{Worker: rand.Text(), Host: host, PID: os.Getpid(), Version: w.o.Version, Roles: roles},
		Log:   w.log.With("room", "audit"), Registerer: w.o.registerer(),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() { defer close(ended); w.audit.Run(ctx) }()
	w.onStop("audit", func(context.Context) error {
		cancel()
		<-ended // within a few seconds, see audit.Recorder
		return nil
	})
	w.checks.Add("audit", health.Degraded, func(context.Context) error { return w.auditProblem() }, "nats", "streams")
	return nil
}

// auditProblem is the condition of the record.
func (w *Worker) auditProblem() error {
	err := w.audit.Problem()
	if err == nil {
		return nil
	}
	e := fault.New(fault.Retry, "audit rows cannot be stored, commands wait: %w", err).WithCode("audit_not_stored")
	if hint := fault.HintOf(err); hint != "" {
		return e.WithHint("%s", hint)
	}
	return e.WithHint("look at the stream %s, or set audit.enabled: false and restart", w.conn.Names().AuditStream())
}

// auditStore is JetStream as the audit record sees it.
type auditStore struct {
	conn  *jet.Conn
	ready atomic.Bool // the streams were good once
}

// Append stores a message. The first one waits for the streams to be made.
func (s *auditStore) Append(ctx context.Context, chain string, data []byte, after uint64) (uint64, error) {
	for !s.ready.Load() {
		if err := s.conn.Ready(); err == nil {
			s.ready.Store(true)
		} else if slept := retry.Sleep(ctx, 20*time.Millisecond); slept != nil {
			return 0, err
		}
	}
	sequence, err := s.conn.Audit().Append(ctx, chain, data, after)
	if errors.Is(err, jet.ErrConflict) {
		return 0, fmt.Errorf("%w: %w", audit.ErrNotLast, err)
	}
	return sequence, err
}

// Last reads the last message of a chain.
func (s *auditStore) Last(ctx context.Context, chain string) ([]byte, uint64, error) {
	return s.conn.Audit().Last(ctx, chain)
}

// MaxMessage returns how long a message may be.
func (s *auditStore) MaxMessage() int { return s.conn.Audit().MaxMessage() }

// commandAudit is the record as the publisher sees it.
type commandAudit struct{ *audit.Recorder }

// auditOfCommands returns the record for the publisher, nil where it is off.
func (w *Worker) auditOfCommands() publisher.Audit {
	if w.audit == nil {
		return nil
	}
	return commandAudit{w.audit}
}

// Ready returns why rows cannot be stored at present, or nil.
func (a commandAudit) Ready() error { return a.Problem() }

// Add adds the row of a command.
func (a commandAudit) Add(row publisher.AuditRow) func(ctx context.Context) error {
	return a.Recorder.Add(audit.Row{Command: &audit.Command{
		ID: row.ID, Key: row.Key, Subject: row.Subject, Stream: row.Stream, Sequence: row.Sequence, MsgID: row.MsgID,
		Publisher: row.Publisher, Entity: row.Entity, Mailbox: row.Mailbox, Decision: row.Decision, Rule: row.Rule,
		Outcome: row.Outcome, Code: row.Code, Status: row.Status, RequestID: row.RequestID, ClientRequestID: row.ClientRequestID,
		Attempts: row.Attempts, Received: row.Received.UTC(), Finished: row.Finished.UTC(), PayloadHash: row.PayloadHash, Again: row.Again,
	}})
}

// grantChanged records a change of a grant.
func (w *Worker) grantChanged(ctx context.Context, change tokenstore.GrantChange) {
	if w.audit == nil {
		return
	}
	w.audit.Note(audit.Row{Grant: &audit.Grant{
		Change: change.Change, Client: change.Client, How: string(change.Grant), Account: nameOf(change.Account),
		Object: change.Account.ObjectID, Tenant: change.Account.Tenant, Scopes: change.Scopes, Granted: change.Granted.UTC(),
		Address: httpd.Peer(ctx), Code: change.Reason,
	}})
}

// recordGrants records the grants that are there when the owner of the tokens
// starts: one that came while no worker ran is seen so.
func (w *Worker) recordGrants(ctx context.Context) {
	if w.audit == nil || w.tokens.Role() == tokenstore.RoleClient {
		return
	}
	for _, c := range w.tokens.Status().Clients {
		if c.Granted.IsZero() {
			continue
		}
		w.grantChanged(ctx, tokenstore.GrantChange{
			Change: "found", Client: c.Client, Grant: c.Grant, Account: c.Account, Scopes: c.Scopes, Granted: c.Granted,
		})
	}
}
