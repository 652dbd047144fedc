package tokenstore

import (
	"context"
	"crypto/hpke"
	"encoding/json"
	"errors"
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
	maxQuestion = 4 << 10
	maxReply    = 64 << 10
)

// question is what a process without the file asks.
type question struct {
	Version int    `json:"v"`
	Key     []byte `json:"key"` // X25519, as RFC 9180 serialises it
	MinLife int64  `json:"min_life_ms,omitempty"`
	// Rejected is the generation to which Graph answered 401; zero is none.
	Rejected uint64 `json:"rejected,omitempty"`
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
	if q.Rejected != 0 {
		s.Source.Reject(ctx, client, Token{Generation: q.Rejected})
	}
	minLife := time.Duration(max(0, min(q.MinLife, maxLife.Milliseconds()))) * time.Millisecond
	token, err := s.Source.Token(ctx, client, minLife)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	plain, err := json.Marshal(sealedToken{
		Access: token.Access.Reveal(), Age: now.Sub(token.Issued).Milliseconds(), Left: token.left(now).Milliseconds(), Generation: token.Generation,
	})
	if err != nil {
		return nil, errors.New("the token cannot be encoded")
	}
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(client), plain)
}

// asker is the other side of one question: it holds the key that opens the
// answer, and is used once.
type asker struct {
	client string
	key    hpke.PrivateKey
}

// ask returns a new question.
func ask(client string, minLife time.Duration, rejected uint64) (*asker, []byte, error) {
	key, err := hpke.DHKEM(x25519()).GenerateKey()
	if err != nil {
		return nil, nil, err
	}
	data, err := json.Marshal(question{
		Version: protocol, Key: key.PublicKey().Bytes(), MinLife: minLife.Milliseconds(), Rejected: rejected,
	})
	return &asker{client: client, key: key}, data, err
}

// errReply is an answer that is not one of ours.
var errReply = errors.New("the answer is not a token answer of a known version")

// open reads the answer, which came at the moment now.
func (a *asker) open(data []byte, now time.Time) (Token, error) {
	var r reply
	if len(data) > maxReply || json.Unmarshal(data, &r) != nil || r.Version != protocol {
		return Token{}, errReply
	}
	if r.Error != nil {
		return Token{}, r.Error.fault()
	}
	plain, err := hpke.Open(a.key, hpke.HKDFSHA256(), hpke.AES256GCM(), sealInfo(a.client), r.Sealed)
	if err != nil {
		return Token{}, errReply
	}
	var t sealedToken
	limit := maxLife.Milliseconds()
	if json.Unmarshal(plain, &t) != nil || t.Access == "" || t.Left <= 0 || t.Left > limit || t.Age < 0 || t.Age > limit {
		return Token{}, errReply
	}
	return Token{
		Access: seal.Secret(t.Access), Generation: t.Generation,
		Issued: now.Add(-time.Duration(t.Age) * time.Millisecond), Expiry: now.Add(time.Duration(t.Left) * time.Millisecond),
	}, nil
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
