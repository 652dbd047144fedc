package cli

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"outlook-connector/internal/sandbox"
)

// sandboxFlags are the flags of the sandbox command. What a sandbox does
// without being told is Graph's own behaviour.
type sandboxFlags struct {
	listen, storeDir string
	mailboxes        int
	seed             uint64
	keep             int
	verbose          bool

	strictRotation  bool
	tokenLife       time.Duration
	concurrency     int
	retryAfter      time.Duration
	requests        limitFlag
	app             limitFlag
	upload          limitFlag
	messages        int
	deltaLost       lostFlag
	submitDelay     time.Duration
	partialUpdates  bool
	idChangesOnSend bool
}

func (f *sandboxFlags) register(cmd *cobra.Command) {
	f.requests = limitFlag{thing: "REQUESTS", n: 10_000, per: 10 * time.Minute}
	f.app = limitFlag{thing: "REQUESTS", n: 130_000, per: 10 * time.Second}
	f.upload = limitFlag{thing: "SIZE", bytes: true, n: 150 << 20, per: 5 * time.Minute}
	f.deltaLost = lostFlag{status: 410, code: "SyncStateNotFound"}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8481", "`ADDRESS` to listen on; port 0 takes a free one")
	flags.IntVar(&f.mailboxes, "mailboxes", 4, "number of made-up people")
	flags.Uint64Var(&f.seed, "seed", 1, "what the people are made up from")
	flags.StringVar(&f.storeDir, "store-dir", "", "keep the state in this folder (default: in memory)")
	flags.IntVar(&f.keep, "keep", 0, "keep at most `N` mails in a mailbox, and as many requests in the log and entries in the ledger of effects; the oldest go (default: no bound)")
	flags.BoolVar(&f.verbose, "verbose", false, "log every request")

	flags.BoolVar(&f.strictRotation, "strict-rotation", false, "a refresh token is good for one use, and using it again ends the whole sign-in")
	flags.DurationVar(&f.tokenLife, "token-life", 3599*time.Second, "how long an access token is good for, such as 60s")
	flags.IntVar(&f.concurrency, "mailbox-concurrency", 4, "how many requests of one application may be open on one mailbox")
	flags.DurationVar(&f.retryAfter, "retry-after", time.Second, "what a request too many on one mailbox is told to wait, in whole seconds")
	flags.Var(&f.requests, "request-limit", "requests of one application to one mailbox in some time, such as 100/1m, or off")
	flags.Var(&f.app, "app-limit", "requests of one application to all mailboxes in some time, or off")
	flags.Var(&f.upload, "upload-limit", "bodies of POST, PATCH and PUT to one mailbox in some time, such as 10MB/1m, or off")
	flags.IntVar(&f.messages, "messages-per-minute", 0, "mails that a mailbox may send in a minute; Exchange allows 30 (default: no limit)")
	flags.DurationVar(&f.submitDelay, "submit-delay", 0, "how long a sent mail stays in Drafts before it is delivered, such as 5s")
	flags.Var(&f.deltaLost, "delta-lost", "answer to an expired delta token")
	flags.BoolVar(&f.partialUpdates, "partial-updates", false, "a delta round names only what changed of an item, as Outlook was seen to do")
	flags.BoolVar(&f.idChangesOnSend, "id-changes-on-send", false, "a draft gets another immutable id when it is sent, as was seen as well")

	for _, name := range []string{"listen", "mailboxes", "seed", "keep", "token-life", "mailbox-concurrency", "retry-after", "messages-per-minute", "submit-delay"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	for name, values := range map[string][]string{
		"request-limit": {"10000/10m", "100/1m", "off"},
		"app-limit":     {"130000/10s", "off"},
		"upload-limit":  {"150MB/5m", "10MB/1m", "off"},
		"delta-lost":    {"410:SyncStateNotFound", "400:syncStateNotFound", "410:resyncRequired"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.MarkFlagDirname("store-dir")
}

// options checks the flags and makes options of them.
func (f *sandboxFlags) options() ([]sandbox.Option, error) {
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return nil, usageHint(err, "write HOST:PORT, such as 127.0.0.1:8481")
	}
	switch {
	case f.mailboxes < 1:
		return nil, usagef("--mailboxes %d: a sandbox has at least one person", f.mailboxes)
	case f.keep < 0:
		return nil, usagef("--keep %d: give the number of mails to keep in a mailbox, or 0 for all", f.keep)
	case f.tokenLife < time.Second:
		return nil, usagef("--token-life %s: a token lives for at least 1s", f.tokenLife)
	case f.concurrency < 1:
		return nil, usagef("--mailbox-concurrency %d: with less than 1 nothing is ever answered", f.concurrency)
	case f.retryAfter < time.Second:
		return nil, usagef("--retry-after %s: Retry-After has whole seconds, at least 1s", f.retryAfter)
	case f.submitDelay < 0:
		return nil, usagef("--submit-delay %s: give a time such as 5s, or 0 for none", f.submitDelay)
	case f.messages < 0:
		return nil, usagef("--messages-per-minute %d: give a number of mails, or 0 for no limit", f.messages)
	}
	options := []sandbox.Option{
		sandbox.Listen(f.listen), sandbox.Mailboxes(f.mailboxes), sandbox.Seed(f.seed), sandbox.TokenLife(f.tokenLife),
		sandbox.MailboxConcurrency(f.concurrency), sandbox.RetryAfter(f.retryAfter), sandbox.MessagesPerMinute(f.messages),
		sandbox.RequestWindow(int(f.requests.n), f.requests.per), sandbox.AppWindow(int(f.app.n), f.app.per),
		sandbox.UploadWindow(f.upload.n, f.upload.per), sandbox.DeltaLost(f.deltaLost.status, f.deltaLost.code), sandbox.Keep(f.keep), sandbox.SubmitDelay(f.submitDelay),
	}
	for option, on := range map[*bool]sandbox.Option{
		&f.strictRotation:  sandbox.StrictRotation(),
		&f.partialUpdates:  sandbox.PartialUpdates(),
		&f.idChangesOnSend: sandbox.IDChangesOnSend(),
	} {
		if *option {
			options = append(options, on)
		}
	}
	if f.storeDir != "" {
		options = append(options, sandbox.StoreDir(f.storeDir))
	}
	return options, nil
}

// limitFlag is so much in so much time: 10000/10m, 150MB/5m. Nothing in it is
// off.
type limitFlag struct {
	thing string // of the value, in the help
	bytes bool
	n     int64
	per   time.Duration
}

// Type is the name of the value in the help.
func (f *limitFlag) Type() string { return f.thing + "/TIME" }

// String is the value as it can be given.
func (f *limitFlag) String() string {
	if f.n == 0 {
		return "off"
	}
	per := f.per.String()
	for _, zero := range []string{"m0s", "h0m"} { // 10m0s is what nobody would write
		if short, ok := strings.CutSuffix(per, zero); ok {
			per = short + zero[:1]
		}
	}
	if f.bytes {
		return size(f.n) + "/" + per
	}
	return strconv.FormatInt(f.n, 10) + "/" + per
}

// Set reads a value.
func (f *limitFlag) Set(text string) error {
	if text == "off" {
		f.n, f.per = 0, 0
		return nil
	}
	example := "10000/10m"
	if f.bytes {
		example = "150MB/5m"
	}
	number, span, found := strings.Cut(text, "/")
	n, err := strconv.ParseInt(number, 10, 64)
	if f.bytes {
		n, err = readSize(number)
	}
	per, perr := time.ParseDuration(span)
	if !found || err != nil || perr != nil || n <= 0 || per <= 0 {
		return fmt.Errorf("write %s, such as %s, or off", f.Type(), example)
	}
	f.n, f.per = n, per
	return nil
}

var sizes = []struct {
	unit string
	n    int64
}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}}

func readSize(text string) (int64, error) {
	for _, s := range sizes {
		if number, ok := strings.CutSuffix(strings.ToUpper(text), s.unit); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			if err != nil || n > 1<<40/s.n {
				return 0, errors.New("no size")
			}
			return n * s.n, nil
		}
	}
	return strconv.ParseInt(text, 10, 64)
}

func size(n int64) string {
	for _, s := range sizes {
		if n%s.n == 0 {
			return strconv.FormatInt(n/s.n, 10) + s.unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// lostFlag is a status and an error code: 410:SyncStateNotFound.
type lostFlag struct {
	status int
	code   string
}

// Type is the name of the value in the help.
func (f *lostFlag) Type() string { return "STATUS:CODE" }

// String is the value as it can be given.
func (f *lostFlag) String() string { return fmt.Sprintf("%d:%s", f.status, f.code) }

// Set reads a value.
func (f *lostFlag) Set(text string) error {
	number, code, _ := strings.Cut(text, ":")
	status, err := strconv.Atoi(number)
	if err != nil || status < 400 || status > 499 || code == "" {
		return errors.New("write STATUS:CODE with a status of 4xx, such as 410:SyncStateNotFound")
	}
	f.status, f.code = status, code
	return nil
}
