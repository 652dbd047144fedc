package graph

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"outlook-connector/internal/seal"
)

func TestTheMostSpecificKnownCodeWins(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"error":{"code":"x","innererror":`, 1) + strings.Repeat(`{"innerError":`, 5000) + `{}` + strings.Repeat(`}`, 5000) + `}}`
	cases := map[string]struct{ body, code, message string }{
		"throttling":      {`{"error":{"code":"TooManyRequests","message":"Please retry again later.","innerError":{"code":"429","date":"x","message":"Please retry after","status":"429"}}}`, "TooManyRequests", "Please retry again later."},
		"inner known":     {`{"error":{"code":"BadRequest","message":"m","innererror":{"code":"ErrorInvalidRequest","innerError":{"code":"SomethingNew"}}}}`, "ErrorInvalidRequest", "m"},
		"inner unknown":   {`{"error":{"code":"accessDenied","innerError":{"code":"Whatever"}}}`, "accessDenied", ""},
		"nothing known":   {`{"error":{"code":"Outer","innerError":{"code":"Inner"}}}`, "Outer", ""},
		"only inner":      {`{"error":{"innerError":{"code":"Inner","message":"deep"}}}`, "Inner", "deep"},
		"case of members": {`{"error":{"Code":"ErrorItemNotFound","Message":"m"}}`, "ErrorItemNotFound", "m"},
		"byte order mark": {"\ufeff" + `{"error":{"code":"ErrorItemNotFound"}}`, "ErrorItemNotFound", ""},
		"sign-in style":   {`{"error":"invalid_request","error_description":"d"}`, "invalid_request", "d"},
		"wrong types":     {`{"error":{"code":17,"message":{},"innerError":"x"}}`, "", ""},
		"not UTF-8":       {"{\"error\":{\"code\":\"ErrorItemNotFound\",\"message\":\"\xff\"}}", "ErrorItemNotFound", "\ufffd"},
		"duplicate names": {`{"error":{"code":"A","code":"ErrorItemNotFound"}}`, "ErrorItemNotFound", ""},
		"null":            {`{"error":null}`, "", ""},
		"array":           {`[]`, "", ""},
		"HTML":            {`<html>`, "", ""},
		"empty":           {``, "", ""},
		"cut off":         {`{"error":{"code":"ErrorItemNotFound"`, "", ""},
		"deep":            {deep, "x", ""},
	}
	for name, tc := range cases {
		d := parseDetails([]byte(tc.body))
		if d.best() != tc.code || d.message != tc.message {
			t.Errorf("%s: code %q, message %q; want %q, %q", name, d.best(), d.message, tc.code, tc.message)
		}
	}
	d := parseDetails([]byte(`{"error":{"code":"ErrorDuplicateTransactionId","@event.existingEventId":"AAMk="}}`))
	if d.existingID != "AAMk=" {
		t.Errorf("existing id %q", d.existingID)
	}
}

func FuzzErrorBody(f *testing.F) {
	f.Add([]byte(`{"error":{"code":"A","message":"m","innerError":{"code":"B","innererror":{"code":"C"}}}}`))
	f.Add([]byte(`{"error":"x","error_description":"Bearer abc"}`))
	f.Add([]byte("<html>\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := parseDetails(body)
		if len(d.codes) > maxNesting+1 || len(d.best()) > 130 {
			t.Fatalf("%d codes, best %q", len(d.codes), d.best())
		}
		if code := d.best(); code != "" && !slices.Contains(d.codes, code) {
			t.Fatalf("code %q is not in the body", code)
		}
		checkSnippet(t, d.message)
		checkSnippet(t, string(body))
	})
}

// checkSnippet plants a secret and looks for it.
func checkSnippet(t *testing.T, text string) {
	t.Helper()
	const secret = "s3cr3t-canary"
	for _, planted := range []string{secret + text, text + secret, text[:len(text)/2] + secret + text[len(text)/2:], text + " Bearer zzz" + secret} {
		got := snippet(planted, seal.Secret(secret))
		if len(got) > maxSnippet || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("snippet %q", got)
		}
		if strings.Contains(got, secret) {
			t.Fatalf("the secret is in %q", got)
		}
	}
}

func TestSnippetsHaveNoSecrets(t *testing.T) {
	t.Parallel()
	jwt := "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJl"
	for _, text := range []string{
		"token " + jwt, "Authorization: Bearer topsecret", `{"access_token":"topsecret"}`, "client_secret=topsecret&x=y", "?code=topsecret",
		strings.Repeat("topsecret", 8), strings.Repeat("a ", 120) + " Bearer topsecret", `"refresh_token" : "topsecret"`, "password: topsecret",
	} {
		got := snippet(text, "")
		if strings.Contains(got, "topsecret") || strings.Contains(got, "eyJ0") || len(got) > maxSnippet {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := snippet("Access is denied.\r\nCheck credentials and try again.", ""); got != "Access is denied. Check credentials and try again." {
		t.Errorf("a plain text became %q", got)
	}
	if got := snippet(strings.Repeat("ü ", 200), ""); len(got) > maxSnippet || !utf8.ValidString(got) {
		t.Errorf("cut badly: %q", got)
	}
}
