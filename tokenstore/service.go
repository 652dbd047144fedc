package tokenstore

import (
	"context"
	"crypto/hpke"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

// The token service's own little protocol, version 1. A question names the
// client by its subject and carries a public key that was made for it; the token
// in the answer is sealed to that key. Whoever may listen to replies on the
// message system sees ciphertext, and an old answer does not fit a new question.
// Who may ask is decided by the permissions on the subject.
const (
	protocol    = 1
	maxQuestion = 16 << 10 // a claims request is up to 2 KiB before its quotes are escaped
	maxReply    = 64 << 10
)

// question is what a process without the file asks.
type question struct {
	Version int    `json:"v"`
	Key     []byte `json:"key"` // X25519, as RFC 9180 serialises it
	MinLife int64  `json:"min_life_ms,omitempty"`
	// Rejected is the generation to which Graph answered 401; zero is none.
	Rejected uint64 `json:"rejected,omitempty"`
	// Claims are what Graph asked for with that. An owner of an earlier version
	// passes over them and refreshes without.
	Claims string `json:"claims,omitempty"`
	// Store is the store that the rejected generation belongs to; empty where the
	// asker does not say. Generations of two stores have nothing to do with each
	// other.
	Store string `json:"store,omitempty"`
	// Wait is how long the asker waits for the answer; zero is no bound.
	Wait int64 `json:"wait_ms,omitempty"`
}

// reply is the answer: a sealed token or an error.
type reply struct {
	Version int         `json:"v"`
	Sealed  []byte      `json:"sealed,omitempty"`
	Error   *replyError `json:"error,omitempty"`
}

// replyError is a [fault.Error] on its way.
type replyError struct {
	Kind  string `json:"kind"`
	Code  string `json:"code,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Text  string `json:"text"`
	After int64  `json:"after_ms,omitempty"`
}

// sealedToken is what is inside. Times are spans, not moments, so that the
// clocks of two machines need not agree.
type sealedToken struct {
	Access     string `json:"access"`
	Age        int64  `json:"age_ms"`
	Left       int64  `json:"left_ms"`
	Generation uint64 `json:"generation"`
	Store      string `json:"store,omitempty"`
}

// sealInfo binds an answer to its client.
func sealInfo(client string) []byte {
	return append([]byte("outlook-connector token v1\x00"), client...)
}

// Service answers the questions of processes that do not hold the file. Only
// the owner may answer. The zero value is not usable; safe for concurrent use.
type Service struct {
	// Source is the keeper that owns the grants.
	Source Source
	// Clients are those that are answered for; nil leaves that to the source.
	Clients []string
	// Store is the random name of the store.
	Store string
}

// Answer answers one question about a client; both are as they came in, and
// nothing in them is trusted. It never fails: an error is an answer too.
func (s Service) Answer(ctx context.Context, client string, request []byte) []byte {
	sealed, err := s.answer(ctx, client, request)
	out := reply{Version: protocol, Sealed: sealed}
	if err != nil {
		failure := fault.Of(err)
		out.Error = &replyError{
			Kind: failure.Kind.String(), Code: failure.Code, Hint: fault.HintOf(err), Text: err.Error(), After: failure.After.Milliseconds(),
		}
	}
	data, err := json.Marshal(out)
	if err != nil {
		return []byte(`{"v":1,"error":{"kind":"retry","text":"the answer cannot be encoded"}}`)
	}
	return data
}

func (s Service) answer(ctx context.Context, client string, request []byte) ([]byte, error) {
	var q question
	if len(request) > maxQuestion || json.Unmarshal(request, &q) != nil || q.Version != protocol {
		return nil, fault.New(fault.Poison, "not a token question of a known version").WithCode("bad_question").
			WithHint("Run the same version of the program everywhere.")
	}
	key, err := hpke.DHKEM(x25519()).NewPublicKey(q.Key)
	if err != nil {
		return nil, fault.New(fault.Poison, "the question has no usable key").WithCode("bad_question")
	}
	if s.Clients != nil && !slices.Contains(s.Clients, client) {
		return nil, fault.New(fault.Retry, "the owner of the tokens has no client %q in its configuration", printable(client)).WithCode("client_not_served").
			WithHint("Give the process that owns the tokens the same clients (outlook-connector status names it), or this one another nats.prefix and a token store of its own.")
	}
	if q.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(min(q.Wait, maxWait.Milliseconds()))*time.Millisecond, errAskerGone)
		defer cancel()
	}
	if q.Rejected != 0 && (q.Store == "" || q.Store == s.Store) {
		s.Source.Reject(ctx, client, Token{Generation: q.Rejected, Claims: q.Claims})
	}
	minLife := time.Duration(max(0, min(q.MinLife, maxLife.Milliseconds()))) * time.Millisecond
	token, err := s.Source.Token(ctx, client, minLife)
	if errors.Is(err, errAskerGone) {
		return nil, fault.New(fault.Retry, "the sign-in server takes long to answer the owner of the tokens").WithCode("refresh_slow").
			WithHint("Look at the connection to the sign-in server; the request goes on.")
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	plain, err := json.Marshal(sealedToken{
		Access: token.Access.Reveal(), Age: now.Sub(token.Issued).Milliseconds(), Left: token.left(now).Milliseconds(), Generation: token.Generation,
		Store: s.Store,
	})
	if err != nil {
		return nil, errors.New("the token cannot be encoded")
	}
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(client), plain)
}

// maxWait bounds for how long an asker may make the owner wait for a refresh.
const maxWait = tokenTimeout

// errAskerGone ends the wait of a question whose asker does not wait any more.
var errAskerGone = errors.New("the asker does not wait any more")

// asker is the other side of one question: it holds the key that opens the
// answer, and is used once.
type asker struct {
	client string
	key    hpke.PrivateKey
}

// ask completes a new question.
func ask(client string, q question) (*asker, []byte, error) {
	key, err := hpke.DHKEM(x25519()).GenerateKey()
	if err != nil {
		return nil, nil, err
	}
	q.Version, q.Key = protocol, key.PublicKey().Bytes()
	data, err := json.Marshal(q)
	return &asker{client: client, key: key}, data, err
}

// errReply is an answer that is not one of ours.
var errReply = errors.New("the answer is not a token answer of a known version")

// open reads the answer to a question that was asked at the moment now, and
// returns the token and the store that it is from.
func (a *asker) open(data []byte, now time.Time) (token Token, store string, err error) {
	var r reply
	if len(data) > maxReply || json.Unmarshal(data, &r) != nil || r.Version != protocol {
		return Token{}, "", errReply
	}
	if r.Error != nil {
		return Token{}, "", r.Error.fault()
	}
	plain, err := hpke.Open(a.key, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(a.client), r.Sealed)
	if err != nil {
		return Token{}, "", errReply
	}
	var t sealedToken
	limit := maxLife.Milliseconds()
	if json.Unmarshal(plain, &t) != nil || t.Access == "" || t.Left <= 0 || t.Left > limit || t.Age < 0 || t.Age > limit {
		return Token{}, "", errReply
	}
	return Token{
		Access: seal.Secret(t.Access), Generation: t.Generation,
		Issued: now.Add(-time.Duration(t.Age) * time.Millisecond), Expiry: now.Add(time.Duration(t.Left) * time.Millisecond),
	}, t.Store, nil
}

// fault returns the error that the owner met. Its remedy is the owner's, except
// that another process cannot stop this one.
func (e *replyError) fault() *fault.Error {
	kind := fault.Retry
	switch e.Kind {
	case fault.Reauth.String():
		kind = fault.Reauth
	case fault.Poison.String():
		kind = fault.Poison
	}
	failure := fault.New(kind, "%s", printable(e.Text)).WithCode(printable(e.Code)).WithHint("%s", printable(e.Hint))
	failure.After = time.Duration(max(0, min(e.After, maxRetryAfter.Milliseconds()))) * time.Millisecond
	return failure
}
