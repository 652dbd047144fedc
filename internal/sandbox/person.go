package sandbox

// A scripted person at a browser: follows redirects, types the code of a device,
// picks an account, accepts.

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Landing is the page on which a sign-in ended.
type Landing struct {
	URL    *url.URL
	Status int
	Body   string
}

// SignIn plays the person: from startURL (a program's own start page, or the
// authorize page itself, or that of admin consent) it follows redirects, picks
// the account upn, accepts, and goes on to where the sign-in leads. It ends at
// the first page that has none of the sandbox's forms. client may be nil; it is
// not changed, and without a cookie jar it is given one, as a browser would have.
//
// A landing that is an error is returned with the error.
func SignIn(ctx context.Context, client *http.Client, startURL, upn string) (*Landing, error) {
	return (&scriptedPerson{upn: upn}).walk(ctx, client, startURL)
}

// SignInDevice plays the person whom a device has shown a code: at
// verificationURI it types userCode, picks the account upn and accepts. A code
// that the page does not take is an error. The rest is as with [SignIn].
func SignInDevice(ctx context.Context, client *http.Client, verificationURI, userCode, upn string) (*Landing, error) {
	return (&scriptedPerson{upn: upn, userCode: userCode}).walk(ctx, client, verificationURI)
}

// scriptedPerson is what the person knows.
type scriptedPerson struct {
	upn      string
	userCode string
	typed    bool // the code
}

func (p *scriptedPerson) walk(ctx context.Context, client *http.Client, startURL string) (*Landing, error) {
	browser := http.Client{}
	if client != nil {
		browser = *client
	}
	if browser.Jar == nil {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return nil, err
		}
		browser.Jar = jar
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, startURL, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("sign in as %s: %w", p.upn, err)
	}
	for range 10 {
		at, root, err := visit(&browser, req)
		if err != nil {
			return at, fmt.Errorf("sign in as %s: %w", p.upn, err)
		}
		f, ok := p.chooseForm(root)
		if !ok {
			if at.Status >= 400 {
				return at, fmt.Errorf("sign in as %s: %s answered %d", p.upn, at.URL.Host+at.URL.Path, at.Status)
			}
			if p.typed && hasID(root, "wrong-code") {
				return at, fmt.Errorf("sign in as %s: the code %s is not taken", p.upn, p.userCode)
			}
			return at, nil
		}
		if req, err = f.submit(ctx, at.URL); err != nil {
			return at, fmt.Errorf("sign in as %s: %w", p.upn, err)
		}
	}
	return nil, fmt.Errorf("sign in as %s: too many pages", p.upn)
}

func visit(browser *http.Client, req *http.Request) (*Landing, *html.Node, error) {
	resp, err := browser.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, nil, err
	}
	at := &Landing{resp.Request.URL, resp.StatusCode, string(body)}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return at, nil, nil
	}
	root, err := html.Parse(strings.NewReader(at.Body))
	return at, root, err
}

// htmlForm is a form filled in.
type htmlForm struct {
	method, action string
	values         url.Values
}

func (f htmlForm) submit(ctx context.Context, base *url.URL) (*http.Request, error) {
	u, err := base.Parse(f.action)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(f.method, http.MethodPost) {
		u.RawQuery = f.values.Encode()
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(f.values.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

// chooseForm finds the form to send and what to press in it: the field for a
// device's code, the account's button, else the field for another account, else
// Accept.
func (p *scriptedPerson) chooseForm(root *html.Node) (htmlForm, bool) {
	var other *htmlForm
	for n := range nodes(root, "form") {
		f := htmlForm{attr(n, "method"), attr(n, "action"), url.Values{}}
		for in := range nodes(n, "input") {
			if attr(in, "type") == "hidden" {
				f.values.Add(attr(in, "name"), attr(in, "value"))
			}
		}
		press := func(name, value string) bool {
			for b := range nodes(n, "button") {
				if attr(b, "name") == name && strings.EqualFold(attr(b, "value"), value) {
					f.values.Set(name, attr(b, "value"))
					return true
				}
			}
			return false
		}
		switch attr(n, "id") {
		case "device":
			if p.userCode != "" && !p.typed {
				p.typed = true
				f.values.Set("otc", p.userCode)
				return f, true
			}
		case "account":
			if press("account", p.upn) {
				return f, true
			}
		case "other":
			f.values.Set("account", p.upn)
			other = &f
		case "consent":
			if press("consent", "accept") {
				return f, true
			}
		case "post":
			return f, true
		}
	}
	if other == nil || strings.Contains(textContent(root), "There is no account") {
		return htmlForm{}, false
	}
	return *other, true
}

func nodes(root *html.Node, tag string) func(func(*html.Node) bool) {
	return func(yield func(*html.Node) bool) {
		if root == nil {
			return
		}
		for n := range root.Descendants() {
			if n.Type == html.ElementNode && n.Data == tag && !yield(n) {
				return
			}
		}
	}
}

func hasID(root *html.Node, id string) bool {
	if root == nil {
		return false
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && attr(n, "id") == id {
			return true
		}
	}
	return false
}

func attr(n *html.Node, name string) string {
	if i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name }); i >= 0 {
		return n.Attr[i].Val
	}
	return ""
}

func textContent(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
	}
	return b.String()
}
