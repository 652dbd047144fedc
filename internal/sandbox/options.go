package sandbox

import (
	"crypto/x509"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// The application and tenant that every sandbox knows without being told.
const (
	// DefaultClientID is the client id of a public application (no secret).
	DefaultClientID = "5a4d0b0c-0000-4000-8000-000000000001"
	// DefaultDomain is the domain of the generated people and the verified
	// domain of the tenant.
	DefaultDomain = "contoso.example"
)

// App is a registered application.
type App struct {
	// ClientID is the application id.
	ClientID string
	// Secret makes the application a confidential client. Without it and
	// without certificates the application is public.
	Secret string
	// Certificates make the application a confidential client as well: their
	// RSA keys sign its client assertions.
	Certificates []*x509.Certificate
	// Roles are the application permissions of its registration, such as
	// Mail.ReadWrite: what its tokens may do when nobody is signed in.
	Roles []string
	// Scopes are the delegated permissions of its registration, which is what
	// the scope .default stands for. Others may be asked for by name.
	Scopes []string
	// ConsentRequired says that no administrator has consented yet: there are
	// no Roles until somebody visits the page of admin consent.
	ConsentRequired bool
	// RedirectURIs are allowed besides every http address on loopback, which
	// is always allowed, with any port and path.
	RedirectURIs []string
}

type options struct {
	listen           string
	baseURL          string
	mailboxes        int
	seed             uint64
	storeDir         string
	log              *slog.Logger
	apps             []App
	tokenLife        time.Duration
	strictRotation   bool
	concurrency      int
	retryAfter       time.Duration
	partialUpdates   bool
	idChangesOnSend  bool
	deltaLostStatus  int
	deltaLostCode    string
	keepRequests     int
	listPage         int
	deltaFilterLimit int
	searchLimit      int
	odd              DeltaOddities // delta_odd.go
	limits           limitOptions  // options_limits.go
	mail             mailOptions   // mail_options.go
}

func defaultOptions() options {
	return options{
		listen:           "127.0.0.1:0",
		mailboxes:        4,
		seed:             1,
		log:              slog.New(slog.DiscardHandler),
		apps:             []App{{ClientID: DefaultClientID}},
		tokenLife:        3599 * time.Second,
		concurrency:      4,
		retryAfter:       time.Second,
		deltaLostStatus:  http.StatusGone,
		deltaLostCode:    "SyncStateNotFound",
		keepRequests:     10_000,
		listPage:         10,
		deltaFilterLimit: 5_000,
		searchLimit:      250,
		limits:           defaultLimitOptions(),
		mail:             defaultMailOptions(),
	}
}

// Option changes how a sandbox is built.
type Option func(*options)

// Listen sets the address for [Sandbox.Start]. Default: a free port on
// 127.0.0.1.
func Listen(addr string) Option { return func(o *options) { o.listen = addr } }

// BaseURL sets scheme and host of the links in answers, for a sandbox behind a
// proxy. Default: http and the Host of each request.
func BaseURL(u string) Option { return func(o *options) { o.baseURL = u } }

// Mailboxes sets the number of generated people. Default 4. A store that has
// more keeps them.
func Mailboxes(n int) Option { return func(o *options) { o.mailboxes = n } }

// Seed sets what the people and their ids are generated from. Default 1. A
// store keeps the seed that it was made with.
func Seed(seed uint64) Option { return func(o *options) { o.seed = seed } }

// StoreDir keeps the state in a folder, so that it survives the process.
// Default: memory only.
func StoreDir(dir string) Option { return func(o *options) { o.storeDir = dir } }

// Logger sets where the sandbox logs. Default: nowhere. Each request is one
// line at debug level, without tokens and bodies.
func Logger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// Apps registers applications besides [DefaultClientID].
func Apps(apps ...App) Option {
	return func(o *options) { o.apps = append(slices.Clip(o.apps), apps...) }
}

// TokenLife sets how long an access token is good for, in whole seconds.
// Default 3,599 s, as Entra says (https://learn.microsoft.com/graph/auth-v2-user).
func TokenLife(d time.Duration) Option { return func(o *options) { o.tokenLife = d } }

// StrictRotation makes each refresh token good for one use, and takes the whole
// family away when an old one is shown again. Off by default, because Entra
// keeps the old one valid
// (https://learn.microsoft.com/entra/identity-platform/refresh-tokens).
func StrictRotation() Option { return func(o *options) { o.strictRotation = true } }

// MailboxConcurrency sets how many requests of one application may be open on
// one mailbox. Default 4, Outlook's own limit
// (https://learn.microsoft.com/graph/throttling-limits).
func MailboxConcurrency(n int) Option { return func(o *options) { o.concurrency = n } }

// RetryAfter sets the Retry-After of the sandbox's own 429 answers, in whole
// seconds. Default 1 s.
func RetryAfter(d time.Duration) Option { return func(o *options) { o.retryAfter = d } }

// PartialUpdates makes a delta round name only the changed properties of an
// item that the client had before, as Outlook was seen to do. Off by default.
func PartialUpdates() Option { return func(o *options) { o.partialUpdates = true } }

// IDChangesOnSend gives a draft another immutable id when it is sent. The
// documentation contradicts itself here; off by default, as the page on
// immutable ids says (https://learn.microsoft.com/graph/outlook-immutable-id).
func IDChangesOnSend() Option { return func(o *options) { o.idChangesOnSend = true } }

// DeltaLost sets status and error code of the answer to an expired delta token.
// Default 410 SyncStateNotFound; 400 with syncStateNotFound was seen as well
// (https://learn.microsoft.com/graph/delta-query-overview).
func DeltaLost(status int, code string) Option {
	return func(o *options) { o.deltaLostStatus, o.deltaLostCode = status, code }
}

// KeepRequests sets how many finished requests the log keeps. Default 10,000.
func KeepRequests(n int) Option { return func(o *options) { o.keepRequests = n } }
