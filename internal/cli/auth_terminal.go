package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/httpd"
	"outlook-connector/tokenstore"
)

// maxPasted bounds a pasted address: a code of Entra is some kB.
const maxPasted = 64 << 10

// byHand is a sign-in whose browser may be on another machine: the person
// carries the address at which it ends here.
type byHand struct {
	app   *app
	p     *process
	begun httpd.BegunLogin
	input chan string
}

// beginByHand prints both ways: a browser of this machine, which comes back by
// itself, and one of any other.
func (a *app) beginByHand(ctx context.Context, p *process, name, start string) (*byHand, error) {
	h := &byHand{app: a, p: p, input: make(chan string)}
	if err := p.ask(ctx, "/oauth/begin/"+name, nil, &h.begun); err != nil {
		return nil, err
	}
	fmt.Fprintf(a.err, "Visit this address on this machine to sign in:\n\n  %s\n\n", start)
	fmt.Fprintf(a.err, "Or, from another machine (such as over SSH), visit\n\n  %s\n\nsign in, and paste here the address at which the browser ends. It begins with\n%s; that it does not load is all right.\n\nWaiting…\n",
		h.begun.AuthorizeURL, h.begun.RedirectURL)
	if a.in == nil { // nobody can paste anything
		close(h.input)
		return h, nil
	}
	go h.read(ctx, a.in)
	return h, nil
}

// read passes on what is typed. It ends with the input or the sign-in, except
// while it waits for a terminal, which cannot be interrupted: then it ends with
// the process, which has nothing more to do.
func (h *byHand) read(ctx context.Context, in io.Reader) {
	defer close(h.input)
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxPasted)
	for scanner.Scan() {
		select {
		case h.input <- scanner.Text():
		case <-ctx.Done():
			return
		}
	}
}

// lines are what is typed; nil where nothing can be.
func (h *byHand) lines() <-chan string {
	if h == nil {
		return nil
	}
	return h.input
}

// finish ends the sign-in with a pasted address. done is false where the text is
// not the address, so that the person may try again.
func (h *byHand) finish(ctx context.Context, line string) (account string, done bool, err error) {
	line = strings.TrimSpace(line)
	if line == "" {
		return "", false, nil
	}
	query, err := pastedQuery(line, h.begun.RedirectURL)
	if err != nil {
		fmt.Fprintf(h.app.err, "%s. Paste the whole address, from http to the end:\n", err)
		return "", false, nil
	}
	var finished httpd.FinishedLogin
	err = h.p.ask(ctx, "/oauth/finish", httpd.FinishLogin{State: h.begun.State, Query: query}, &finished)
	if err != nil && tryAgain(fault.Of(err).Code) {
		fmt.Fprintf(h.app.err, "%s. Paste the address of the sign-in that began here:\n", err)
		return "", false, nil
	}
	return finished.Account, err == nil, err
}

// pastedQuery returns the query of an address that is the redirect address, or
// of what stands behind its question mark.
func pastedQuery(text, redirect string) (string, error) {
	if rest, ok := strings.CutPrefix(text, "?"); ok || strings.HasPrefix(text, "code=") || strings.HasPrefix(text, "state=") {
		if !ok {
			rest = text
		}
		return rest, nil
	}
	got, err := url.Parse(text)
	if err != nil {
		return "", errors.New("that is not an address")
	}
	want, err := url.Parse(redirect)
	if err != nil {
		return "", errors.New("the redirect address cannot be read")
	}
	switch {
	case !strings.EqualFold(got.Scheme, want.Scheme) || !strings.EqualFold(got.Host, want.Host) || got.Path != want.Path || got.User != nil:
		return "", fmt.Errorf("that is not the address at which the sign-in ends, %s", redirect)
	case got.RawQuery == "":
		return "", errors.New("the part after the question mark is missing")
	}
	return got.RawQuery, nil
}

// loginByDevice signs in with a code for a browser on any machine.
func (a *app) loginByDevice(ctx context.Context, p *process, name string) error {
	var flow httpd.DeviceLogin
	if err := p.ask(ctx, "/oauth/device/"+name, nil, &flow); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "To sign in for client %s, visit in a browser on any machine\n\n  %s\n\nand enter the code\n\n  %s\n\nWaiting until %s…\n",
		name, flow.VerificationURL, flow.UserCode, flow.Expires.Local().Format("15:04"))
	wait, told := time.Duration(flow.WaitMS)*time.Millisecond, ""
	for {
		timer := time.NewTimer(max(wait, 100*time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return fault.New(fault.Reauth, "no access granted: %w", context.Cause(ctx)).WithHint("outlook-connector auth login %s --device", name)
		case <-timer.C:
		}
		var progress httpd.DeviceProgress
		if err := p.ask(ctx, "/oauth/poll", httpd.PollLogin{ID: flow.ID}, &progress); err != nil {
			return err
		}
		switch {
		case progress.Done:
			return a.granted(name, progress.Account)
		case progress.Problem != "" && progress.Problem != told:
			fmt.Fprintf(a.err, "The sign-in server does not answer as it should, still waiting: %s\n", progress.Problem)
		case progress.Problem == "" && told != "":
			fmt.Fprintln(a.err, "The sign-in server answers again.")
		}
		wait, told = time.Duration(progress.WaitMS)*time.Millisecond, progress.Problem
	}
}

// tryAgain says whether a refused address leaves the sign-in open: it was not
// the one of this sign-in.
func tryAgain(code string) bool {
	return code == tokenstore.CodeStateMissing || code == tokenstore.CodeStateOther || code == tokenstore.CodeMissing || code == "bad_question"
}
