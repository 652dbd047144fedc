package httpd

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"time"

	"outlook-connector/internal/fault"
)

// Terminal carries out what "outlook-connector auth login" asks for besides a
// browser on this machine. All of it is behind the credential, by POST, and
// closed to browsers of other sites.
type Terminal interface {
	// Finish ends a sign-in with the query of the address at which a browser
	// ended somewhere else. state is the one that the terminal was given; the
	// query must bring the same.
	Finish(ctx context.Context, state string, query url.Values) (client, account string, err error)
	// BeginDevice begins a sign-in with a code for another machine.
	BeginDevice(ctx context.Context, client string) (DeviceLogin, error)
	// PollDevice asks whether the person has finished.
	PollDevice(ctx context.Context, id string) (DeviceProgress, error)
	// Check asks the sign-in server for a token now.
	Check(ctx context.Context, client string) error
}

// BegunLogin is the answer of /oauth/begin/<client>.
type BegunLogin struct {
	// AuthorizeURL is what a browser anywhere must visit; State is what comes
	// back, and RedirectURL where.
	AuthorizeURL string `json:"authorize_url"`
	State        string `json:"state"`
	RedirectURL  string `json:"redirect_url"`
}

// FinishLogin is the question to /oauth/finish.
type FinishLogin struct {
	State string `json:"state"`
	Query string `json:"query"`
}

// FinishedLogin is the answer of /oauth/finish.
type FinishedLogin struct {
	Client  string `json:"client"`
	Account string `json:"account"`
}

// DeviceLogin is the answer of /oauth/device/<client>. ID is for
// /oauth/poll and for nobody's eyes.
type DeviceLogin struct {
	ID              string    `json:"id"`
	UserCode        string    `json:"user_code"`
	VerificationURL string    `json:"verification_url"`
	Expires         time.Time `json:"expires"`
	WaitMS          int64     `json:"wait_ms"`
}

// PollLogin is the question to /oauth/poll.
type PollLogin struct {
	ID string `json:"id"`
}

// DeviceProgress is the answer of /oauth/poll. Problem is why nothing could be
// found out this time.
type DeviceProgress struct {
	Done    bool   `json:"done"`
	Account string `json:"account,omitempty"`
	WaitMS  int64  `json:"wait_ms,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// maxTerminal bounds a question of a terminal: a code of Entra is some kB.
const maxTerminal = 64 << 10

// terminalRoutes adds what the terminal asks for.
func (s *Server) terminalRoutes(closed func(pattern string, h http.HandlerFunc)) {
	if s.opts.Terminal == nil {
		return
	}
	closed("POST /oauth/begin/{client}", s.oauthBegin)
	closed("POST /oauth/finish", s.oauthFinish)
	closed("POST /oauth/device/{client}", s.oauthDevice)
	closed("POST /oauth/poll", s.oauthPoll)
	closed("POST /oauth/check/{client}", s.oauthCheck)
}

func (s *Server) oauthBegin(w http.ResponseWriter, r *http.Request) {
	client := r.PathValue("client")
	authorizeURL, state, err := s.opts.Logins.Begin(client)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	begun := BegunLogin{AuthorizeURL: authorizeURL, State: state}
	if u, err := url.Parse(authorizeURL); err == nil {
		begun.RedirectURL = u.Query().Get("redirect_uri")
	}
	writeJSON(w, http.StatusOK, begun)
}

func (s *Server) oauthFinish(w http.ResponseWriter, r *http.Request) {
	var question FinishLogin
	if !readJSON(w, r, &question) {
		return
	}
	query, err := url.ParseQuery(question.Query)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, Refusal{Error: "the address has no readable query", Code: "bad_question"})
		return
	}
	client, account, err := s.opts.Terminal.Finish(r.Context(), question.State, query)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.opts.Log.InfoContext(r.Context(), "access granted", "client", client, "account", account)
	writeJSON(w, http.StatusOK, FinishedLogin{Client: client, Account: account})
}

func (s *Server) oauthDevice(w http.ResponseWriter, r *http.Request) {
	flow, err := s.opts.Terminal.BeginDevice(r.Context(), r.PathValue("client"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, flow)
}

func (s *Server) oauthPoll(w http.ResponseWriter, r *http.Request) {
	var question PollLogin
	if !readJSON(w, r, &question) {
		return
	}
	progress, err := s.opts.Terminal.PollDevice(r.Context(), question.ID)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if progress.Done {
		s.opts.Log.InfoContext(r.Context(), "access granted", "account", progress.Account)
	}
	writeJSON(w, http.StatusOK, progress)
}

func (s *Server) oauthCheck(w http.ResponseWriter, r *http.Request) {
	if err := s.opts.Terminal.Check(r.Context(), r.PathValue("client")); err != nil {
		s.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// refuse says to a program why not.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	s.opts.Log.WarnContext(r.Context(), "sign-in refused", "error", err)
	code := http.StatusBadRequest
	if fault.Of(err).Code == "unknown_client" {
		code = http.StatusNotFound
	}
	writeJSON(w, code, Refusal{Error: err.Error(), Hint: fault.HintOf(err), Code: fault.Of(err).Code})
}

// readJSON reads a question. A form of another site cannot send this type of
// content without asking first.
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		writeJSON(w, http.StatusUnsupportedMediaType, Refusal{Error: "the question must be JSON", Code: "bad_question"})
		return false
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTerminal)).Decode(into) != nil {
		writeJSON(w, http.StatusBadRequest, Refusal{Error: "the question cannot be read", Code: "bad_question"})
		return false
	}
	return true
}
