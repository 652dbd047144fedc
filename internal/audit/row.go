// Package audit is the record of who had what done, as chains of rows: what a
// row says, how each one is tied to the one before it ([Chain]), how rows are
// stored in groups before anybody is told of what they record ([Recorder]), and
// how a stored record is checked ([Verifier]).
//
// It promises that a row which was changed, taken out, put in or moved is found,
// unless everything behind it in its chain was made anew as well: the hashes are
// no signatures. It knows neither NATS nor the rooms whose deeds it records.
package audit

import (
	"cmp"
	"slices"
	"time"
)

// version is that of the rows' form.
const version = 1

// Kind says what a row records.
type Kind string

// The kinds of rows.
const (
	// KindStart is the first row of a chain: which worker wrote it.
	KindStart Kind = "start"
	// KindCommand is the end of a command.
	KindCommand Kind = "command"
	// KindGrant is a change of a client's grant.
	KindGrant Kind = "grant"
	// KindOutage is the first row after a time in which none could be stored.
	KindOutage Kind = "outage"
	// KindEnd is the last row of a chain that was ended on purpose.
	KindEnd Kind = "end"
)

// Row is one row. Exactly the part that Kind names is set.
type Row struct {
	Version int    `json:"v"`
	Chain   string `json:"chain"`
	// Number counts the rows of the chain from 1.
	Number uint64 `json:"n"`
	// Prev is the hash of the row before; empty in the first one.
	Prev string    `json:"prev"`
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`

	Start   *Start   `json:"start,omitempty"`
	Command *Command `json:"command,omitempty"`
	Grant   *Grant   `json:"grant,omitempty"`
	Outage  *Outage  `json:"outage,omitempty"`
	End     *End     `json:"end,omitempty"`
}

// Start says who writes a chain.
type Start struct {
	// Worker is the process's own name for itself, new at each start.
	Worker  string   `json:"worker"`
	Host    string   `json:"host"`
	PID     int      `json:"pid"`
	Version string   `json:"version"`
	Roles   []string `json:"roles,omitempty"`
	// After is where the same worker's chain before this one ended, where the
	// stream no longer had what was stored there.
	After *Head `json:"after,omitempty"`
}

// Command says what became of a command, and for whom. It has no bodies, no
// recipients and no sentences of Outlook.
type Command struct {
	// ID is the sender's Nats-Msg-Id, else <stream>-<sequence>; Key is that of the
	// ledger.
	ID  string `json:"id"`
	Key string `json:"key,omitempty"`
	// Subject, Stream and Sequence are all that NATS tells of the sender.
	Subject  string `json:"subject"`
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
	MsgID    string `json:"msg_id,omitempty"`

	Publisher string `json:"publisher"`
	Entity    string `json:"entity,omitempty"`
	Mailbox   string `json:"mailbox,omitempty"`

	// Decision is "allowed", "refused" or "none", and Rule what refused it.
	Decision string `json:"decision"`
	Rule     string `json:"rule,omitempty"`

	Outcome         string    `json:"outcome"`
	Code            string    `json:"code,omitempty"`
	Status          int       `json:"status,omitempty"`
	RequestID       string    `json:"request_id,omitempty"`
	ClientRequestID string    `json:"client_request_id,omitempty"`
	Attempts        int       `json:"attempts"`
	Received        time.Time `json:"received"`
	Finished        time.Time `json:"finished"`
	// PayloadHash is the SHA-256 of the command as it came.
	PayloadHash string `json:"payload_hash"`
	// Again says that the end was recorded by an earlier delivery, which may have
	// written its row too.
	Again bool `json:"again,omitempty"`
}

// Grant says what happened to a client's grant.
type Grant struct {
	// Change is "signed_in", "signed_out", "ended" (the sign-in server refuses it)
	// or "found" (it was there when the worker started).
	Change  string   `json:"change"`
	Client  string   `json:"client"`
	How     string   `json:"how,omitempty"`
	Account string   `json:"account,omitempty"`
	Object  string   `json:"object_id,omitempty"`
	Tenant  string   `json:"tenant,omitempty"`
	Scopes  []string `json:"scopes,omitempty"`
	// Granted is when the account signed in.
	Granted time.Time `json:"granted,omitzero"`
	// Address is from where it was asked over HTTP.
	Address string `json:"address,omitempty"`
	Code    string `json:"code,omitempty"`
}

// Outage says how long rows could not be stored.
type Outage struct {
	Since time.Time `json:"since"`
	Code  string    `json:"code,omitempty"`
}

// End says how many rows a chain has, itself among them.
type End struct {
	Rows uint64 `json:"rows"`
}

// Head is a row by which a chain can be recognised later.
type Head struct {
	Chain  string    `json:"chain"`
	Number uint64    `json:"n"`
	Hash   string    `json:"hash"`
	Time   time.Time `json:"time"`
}

// kind sets the kind from the part that is there.
func (r Row) kind() Kind {
	switch {
	case r.Start != nil:
		return KindStart
	case r.Command != nil:
		return KindCommand
	case r.Grant != nil:
		return KindGrant
	case r.Outage != nil:
		return KindOutage
	default:
		return KindEnd
	}
}

// Bounds of what strangers can write into a row.
const (
	maxText   = 512
	maxScopes = 64
)

// bound cuts the row's texts to a length at which a row always fits into a
// message.
func (r *Row) bound() {
	if c := r.Command; c != nil {
		for _, text := range [...]*string{
			&c.ID, &c.Key, &c.Subject, &c.Stream, &c.MsgID, &c.Publisher, &c.Entity, &c.Mailbox, &c.Decision, &c.Rule,
			&c.Outcome, &c.Code, &c.RequestID, &c.ClientRequestID, &c.PayloadHash,
		} {
			clip(text)
		}
	}
	if g := r.Grant; g != nil {
		for _, text := range [...]*string{&g.Change, &g.Client, &g.How, &g.Account, &g.Object, &g.Tenant, &g.Address, &g.Code} {
			clip(text)
		}
		// The slice is the caller's, who may go on using it.
		g.Scopes = slices.Clone(g.Scopes[:min(len(g.Scopes), maxScopes)])
		for i := range g.Scopes {
			clip(&g.Scopes[i])
		}
	}
}

func clip(text *string) {
	if len(*text) > maxText {
		*text = (*text)[:maxText] + "…"
	}
}

// Who is the row's subject in one word: a publisher or a client.
func (r Row) Who() string {
	switch {
	case r.Command != nil:
		return r.Command.Publisher
	case r.Grant != nil:
		return r.Grant.Client
	case r.Start != nil:
		return cmp.Or(r.Start.Host, r.Start.Worker)
	default:
		return ""
	}
}
