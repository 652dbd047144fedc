package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	msgraphsdk "github.com/microsoftgraph/msgraph-sdk-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go-core/authentication"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"outlook-connector/internal/sandbox"
)

const (
	ann  = "ann@contoso.example"
	ben  = "ben@contoso.example"
	cleo = "cleo@contoso.example"

	everything = "User.ReadWrite User.ReadBasic.All People.Read Mail.ReadWrite Mail.Send Calendars.ReadWrite Calendars.ReadWrite.Shared Contacts.ReadWrite Tasks.ReadWrite" +
		" MailboxSettings.ReadWrite Group.ReadWrite.All Place.Read.All"
)

func TestMain(m *testing.M) {
	// The core of the SDK knows no errors of its own for batches and further
	// pages; its documentation has the application name them.
	for _, key := range []string{core.BatchRequestErrorRegistryKey, core.PageIteratorErrorRegistryKey} {
		if err := core.RegisterError(key, abstractions.ErrorMappings{"4XX": odataerrors.CreateODataErrorFromDiscriminatorValue, "5XX": odataerrors.CreateODataErrorFromDiscriminatorValue}); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// credential is a token that was got elsewhere.
type credential string

func (c credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(c), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// world is a started sandbox.
type world struct {
	*sandbox.Sandbox
	t testing.TB
}

func start(tb testing.TB, opts ...sandbox.Option) *world {
	tb.Helper()
	s, err := sandbox.New(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return &world{Sandbox: s, t: tb}
}

// sdk is the SDK's client, signed in as somebody.
type sdk struct {
	*msgraphsdk.GraphServiceClient
	adapter *msgraphsdk.GraphRequestAdapter
	me      *users.UserItemRequestBuilder
}

// as is the SDK as its users build it; only the host that may see the token and
// the base URL are ours.
func (w *world) as(upn string) *sdk {
	w.t.Helper()
	token, err := w.Token(upn, everything)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.with(token)
}

func (w *world) with(token string) *sdk {
	w.t.Helper()
	// The host is 127.0.0.1 alone: a link to any other host, such as an upload
	// session's, must get no token, as outlook.office.com gets none.
	auth, err := authentication.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(credential(token),
		[]string{"https://graph.microsoft.com/.default"}, []string{"127.0.0.1"})
	if err != nil {
		w.t.Fatal(err)
	}
	adapter, err := msgraphsdk.NewGraphRequestAdapter(auth)
	if err != nil {
		w.t.Fatal(err)
	}
	adapter.SetBaseUrl(w.GraphURL())
	client := msgraphsdk.NewGraphServiceClient(adapter)
	return &sdk{GraphServiceClient: client, adapter: adapter, me: client.Me()}
}

// deliver puts mails from outside into the inbox of somebody.
func (w *world) deliver(to string, subjects ...string) {
	w.t.Helper()
	for _, s := range subjects {
		if _, err := w.Deliver(sandbox.Mail{To: []string{to}, Subject: s, Body: "From outside: " + s + "."}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// calls counts the finished requests on a route template.
func (w *world) calls(method, route string) int {
	n := 0
	for _, c := range w.Requests() {
		if c.Method == method && c.Route == route {
			n++
		}
	}
	return n
}

// sent counts the mails with a subject that were accepted to be sent.
func (w *world) sent(subject string) int {
	n := 0
	for _, e := range w.Effects() {
		if e.Kind == sandbox.EffectSent && e.Subject == subject {
			n++
		}
	}
	return n
}

// ok ends the test on an error, with what Graph said.
func ok(tb testing.TB, err error, what string) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("%s: %s", what, said(err))
	}
}

// said is an error with Graph's code, which the SDK's text leaves out.
func said(err error) string {
	if err == nil {
		return "no error"
	}
	if e, ok := errors.AsType[*odataerrors.ODataError](err); ok && e.GetErrorEscaped() != nil {
		return fmt.Sprintf("%d %s: %s", e.ResponseStatusCode, value(e.GetErrorEscaped().GetCode()), value(e.GetErrorEscaped().GetMessage()))
	}
	return err.Error()
}

// refused checks that Graph said no, with a status and a code.
func refused(tb testing.TB, err error, status int, code string) {
	tb.Helper()
	e, is := errors.AsType[*odataerrors.ODataError](err)
	if !is || e.GetErrorEscaped() == nil {
		tb.Fatalf("got %v, want an ODataError with status %d and code %s", err, status, code)
	}
	if e.ResponseStatusCode != status || value(e.GetErrorEscaped().GetCode()) != code {
		tb.Fatalf("got %s; want %d %s", said(err), status, code)
	}
}

// value reads what the SDK gives as pointers; nil is the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// same compares two values.
func same[T comparable](tb testing.TB, what string, got, want T) {
	tb.Helper()
	if got != want {
		tb.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// sameList compares two lists without regard to their order.
func sameList(tb testing.TB, what string, got []string, want ...string) {
	tb.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		tb.Fatalf("%s: got %q, want %q", what, got, want)
	}
}

// names collects one property of the items of a list.
func names[T any](items []T, name func(T) *string) []string {
	list := make([]string, 0, len(items))
	for _, it := range items {
		list = append(list, value(name(it)))
	}
	return list
}

// eventually polls until it is so, or the test has waited long enough.
func eventually(tb testing.TB, what string, so func() bool) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			tb.Fatalf("did not happen in 10 s: %s", what)
		}
	}
}

// header is a set of request headers with one in it.
func header(name, val string) *abstractions.RequestHeaders {
	h := abstractions.NewRequestHeaders()
	h.Add(name, val)
	return h
}

func recipient(addr string) models.Recipientable {
	e := models.NewEmailAddress()
	e.SetAddress(&addr)
	r := models.NewRecipient()
	r.SetEmailAddress(e)
	return r
}

func body(content string) models.ItemBodyable {
	b := models.NewItemBody()
	b.SetContentType(new(models.TEXT_BODYTYPE))
	b.SetContent(&content)
	return b
}

// mail is a message to somebody.
func mail(subject string, to ...string) *models.Message {
	m := models.NewMessage()
	m.SetSubject(&subject)
	m.SetBody(body("Hello."))
	list := make([]models.Recipientable, 0, len(to))
	for _, a := range to {
		list = append(list, recipient(a))
	}
	m.SetToRecipients(list)
	return m
}

func file(name string, content []byte) *models.FileAttachment {
	a := models.NewFileAttachment()
	a.SetName(&name)
	a.SetContentType(new("application/octet-stream"))
	a.SetContentBytes(content)
	return a
}

// draft makes a draft and returns its id.
func (c *sdk) draft(tb testing.TB, subject string, to ...string) string {
	tb.Helper()
	m, err := c.me.Messages().Post(tb.Context(), mail(subject, to...), nil)
	ok(tb, err, "create a draft")
	return value(m.GetId())
}

// send sends a mail in one request.
func (c *sdk) send(tb testing.TB, m models.Messageable, keep bool) error {
	tb.Helper()
	in := users.NewItemSendMailPostRequestBody()
	in.SetMessage(m)
	in.SetSaveToSentItems(&keep)
	return c.me.SendMail().Post(tb.Context(), in, nil)
}

// in lists a folder, its attachments with it.
func (c *sdk) in(tb testing.TB, folder string) []models.Messageable {
	tb.Helper()
	page, err := c.me.MailFolders().ByMailFolderId(folder).Messages().Get(tb.Context(),
		&users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{Top: new(int32(100)), Expand: []string{"attachments"}},
		})
	ok(tb, err, "list "+folder)
	return page.GetValue()
}

// arrived waits until a mail with a subject is in a folder, and returns it.
func (c *sdk) arrived(tb testing.TB, folder, subject string) models.Messageable {
	tb.Helper()
	var found models.Messageable
	eventually(tb, fmt.Sprintf("%q comes to %s", subject, folder), func() bool {
		for _, m := range c.in(tb, folder) {
			if value(m.GetSubject()) == subject {
				found = m
			}
		}
		return found != nil
	})
	return found
}
