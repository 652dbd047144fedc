package sandbox

// The part of the control port about accounts, tokens and subscriptions: what an
// administrator or the directory does while a program is running.

import (
	"errors"
	"fmt"
	"net/http"
)

func (s *Sandbox) accountControls() map[string]func(*http.Request) (any, error) {
	return map[string]func(*http.Request) (any, error){
		"POST token":         s.controlToken,
		"POST app-token":     s.controlAppToken,
		"POST expire-tokens": func(*http.Request) (any, error) { s.ExpireAccessTokens(); return done(), nil },
		"POST revoke":        s.forAccount(func(upn string) error { s.RevokeSessions(upn); return nil }),
		"POST password":      s.forAccount(func(upn string) error { s.ChangePassword(upn); return nil }),
		"POST challenge":     s.forAccount(s.ChallengeClaims),
		"POST disable":       s.forAccount(func(upn string) error { return s.DisableAccount(upn, true) }),
		"POST enable":        s.forAccount(func(upn string) error { return s.DisableAccount(upn, false) }),
		"POST people":        func(*http.Request) (any, error) { return s.AddPerson() },
		"DELETE people": func(r *http.Request) (any, error) {
			if upn := r.URL.Query().Get("upn"); !s.RemovePerson(upn) {
				return nil, fmt.Errorf("no account %q", upn)
			}
			return done(), nil
		},
		"POST lifecycle": s.controlLifecycle,
	}
}

// forAccount makes a control of something that is done to one account.
func (s *Sandbox) forAccount(do func(upn string) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		in, err := readControl[struct {
			UPN string `json:"upn"`
		}](r)
		if err != nil {
			return nil, err
		}
		known := false
		s.read(func(st *state) { known = st.mailboxNamed(in.UPN) != nil })
		if !known {
			return nil, fmt.Errorf("no account %q", in.UPN)
		}
		return done(), do(in.UPN)
	}
}

func (s *Sandbox) controlToken(r *http.Request) (any, error) {
	in, err := readControl[struct {
		UPN    string `json:"upn"`
		Scopes string `json:"scopes"`
	}](r)
	if err != nil {
		return nil, err
	}
	token, err := s.Token(in.UPN, in.Scopes)
	return map[string]string{"access_token": token}, err
}

func (s *Sandbox) controlAppToken(r *http.Request) (any, error) {
	in, err := readControl[struct {
		ClientID string `json:"client_id"`
		Roles    string `json:"roles"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.ClientID == "" {
		in.ClientID = DefaultClientID
	}
	token, err := s.AppToken(in.ClientID, in.Roles)
	return map[string]string{"access_token": token}, err
}

func (s *Sandbox) controlLifecycle(r *http.Request) (any, error) {
	in, err := readControl[struct {
		Subscription string `json:"subscription"`
		Event        string `json:"event"`
	}](r)
	if err == nil && in.Subscription == "" {
		err = errors.New("subscription is missing: its id")
	}
	if err != nil {
		return nil, err
	}
	return done(), s.SendLifecycle(in.Subscription, in.Event)
}
