package graph_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

// read reads one page and copies its items.
func read(t *testing.T, w *world, req graph.Request) (*graph.Page, []string, error) {
	t.Helper()
	var items []string
	page, err := w.Page(t.Context(), req, func(item []byte) error {
		items = append(items, string(item))
		return nil
	})
	return page, items, err
}

// answerPage serves one fixed body; «base» in it stands for the server.
func answerPage(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "«base»", "http://"+r.Host+"/v1.0"))
	}
}

func TestPagesAreFollowedByTheirLinks(t *testing.T) {
	t.Parallel()
	const feed = "/me/mailFolders/inbox/messages/delta"
	var prefer []string
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		prefer = append(prefer, r.Header.Get("Prefer"))
		base := "http://" + r.Host + "/v1.0"
		rw.Header().Set("Date", "Mon, 23 Nov 2026 12:00:00 GMT")
		switch r.RequestURI {
		case "/v1.0" + feed:
			_, _ = fmt.Fprintf(rw, `{"@odata.context":"x","value":[ {"id": "1","n":1.0} , {"id":"2"}],"@odata.nextLink":"%s%s?$skiptoken=a%%3d"}`, base, feed)
		case "/v1.0" + feed + "?$skiptoken=a%3d":
			_, _ = fmt.Fprintf(rw, `{"@odata.deltaLink":%q,"value":[],"@odata.nextLink":null}`, base+"/me/mailFolders('AQMk=')/messages/delta?$deltatoken=b")
		default:
			t.Errorf("unexpected %s", r.RequestURI)
		}
	}, nil)
	page, items, err := read(t, w, delta(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`{"id": "1","n":1.0}`, `{"id":"2"}`}, items); diff != "" {
		t.Errorf("items differ, they must come byte for byte:\n%s", diff)
	}
	if page.Delta != "" || page.Items != 2 || page.Status != 200 || page.Bytes == 0 || page.Date.Hour() != 12 || page.ClientRequestID == "" || page.Duration <= 0 {
		t.Errorf("page %+v", page)
	}
	next := delta(t)
	next.Link = page.Next
	page, items, err = read(t, w, next)
	if err != nil || page.Next != "" || !strings.HasSuffix(page.Delta, "$deltatoken=b") || len(items) != 0 {
		t.Errorf("second page %+v, %d items, %v", page, len(items), err)
	}
	if len(prefer) != 2 || prefer[0] != prefer[1] || !strings.Contains(prefer[1], "odata.maxpagesize=100") {
		t.Errorf("Prefer headers %q", prefer)
	}
}

func TestOddButWholePagesPass(t *testing.T) {
	t.Parallel()
	const feed = "«base»/me/mailFolders/inbox/messages/delta?$deltatoken=x"
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"half a surrogate pair": {`{"value":[{"bodyPreview":"cut \ud83d"}],"@odata.deltaLink":"` + feed + `"}`, []string{`{"bodyPreview":"cut \ud83d"}`}},
		"not UTF-8":             {"{\"value\":[\"\xff\"],\"@odata.deltaLink\":\"" + feed + `"}`, []string{"\"\xff\""}},
		"duplicate names":       {`{"value":[{"a":1,"a":2}],"x":1,"x":2,"@odata.deltaLink":"` + feed + `"}`, []string{`{"a":1,"a":2}`}},
		"unknown members":       {`{"@microsoft.graph.tips":{"a":[1,{}]},"value":[],"z":"x","@odata.deltaLink":"` + feed + `"}`, nil},
		"both links":            {`{"value":[],"@odata.deltaLink":"` + feed + `","@odata.nextLink":"` + feed + `"}`, nil},
		"white space after":     {`{"value":[],"@odata.deltaLink":"` + feed + "\"}\r\n \n", nil},
	} {
		w := serve(t, answerPage(tc.body), nil)
		page, items, err := read(t, w, delta(t))
		if err != nil || !cmp.Equal(items, tc.want) {
			t.Errorf("%s: items %q, error %v", name, items, err)
			continue
		}
		if bothLinks := name == "both links"; bothLinks != (page.Next != "") || bothLinks != (page.Delta == "") {
			t.Errorf("%s: links %q and %q; a next link goes before", name, page.Next, page.Delta)
		}
	}
	list := graph.Request{Operation: operation(t, "mail.message.list"), Mailbox: "me"}
	w := serve(t, answerPage(`{"value":[1,"2"]}`), nil)
	if page, items, err := read(t, w, list); err != nil || page.Next+page.Delta != "" || len(items) != 2 {
		t.Errorf("last page of a list: %+v, %q, %v", page, items, err)
	}
}

func TestAPageThatIsNotWholeIsAnError(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty":                "",
		"HTML":                 "<html>",
		"no value":             `{}`,
		"an array":             `[]`,
		"value is an object":   `{"value":{}}`,
		"value is null":        `{"value":null}`,
		"value twice":          `{"value":[],"value":[]}`,
		"delta without links":  `{"value":[{"id":"1"}]}`,
		"a link is a number":   `{"value":[],"@odata.nextLink":1}`,
		"cut in an item":       `{"value":[{"id":"1"},{"id":"2`,
		"cut between items":    `{"value":[{"id":"1"},`,
		"cut before the links": `{"value":[{"id":"1"}]`,
		"trailing garbage":     `{"value":[]}x`,
		"two documents":        `{"value":[]}{}`,
		"byte order mark":      "\ufeff" + `{"value":[]}`,
		"NaN":                  `{"value":[NaN]}`,
		"control character":    "{\"value\":[\"a\nb\"]}",
		"deep":                 `{"value":[` + strings.Repeat("[", 100_000),
		"foreign link":         `{"value":[],"@odata.nextLink":"https://evil.example/v1.0/me/mailFolders/inbox/messages/delta?a=b"}`,
		"link to another box":  `{"value":[],"@odata.nextLink":"«base»/users/ceo@contoso.com/mailFolders/inbox/messages/delta?a=b"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, answerPage(body), nil)
			page, _, err := read(t, w, delta(t))
			mark := wantFault(t, err, fault.Retry, false)
			if want := map[bool]string{true: "link_refused", false: "bad_body"}[strings.Contains(name, "link to") || name == "foreign link"]; page != nil || mark.Code != want {
				t.Errorf("page %+v, code %q: %v", page, mark.Code, err)
			}
			for _, host := range w.dialed.list() {
				if !strings.HasPrefix(host, "127.0.0.1:") {
					t.Errorf("dialed %s", host)
				}
			}
		})
	}
}

func TestACutConnectionIsNotAShortPage(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"Content-Length: 500\r\n", "Transfer-Encoding: chunked\r\n", "Content-Encoding: gzip\r\nConnection: close\r\n"} {
		base := rawServe(t, func(_ int, conn net.Conn) {
			readRequest(conn)
			body := []byte(`{"value":[{"id":"1"}]}`) // whole by itself
			switch {
			case strings.HasPrefix(head, "Transfer"):
				body = fmt.Appendf(nil, "%x\r\n%s\r\n", len(body), body) // no last chunk
			case strings.Contains(head, "gzip"):
				body = zipped(body)
				body = body[:len(body)-4]
			}
			_, _ = conn.Write(append([]byte("HTTP/1.1 200 OK\r\n"+head+"\r\n"), body...))
		})
		w := connect(t, base, nil)
		req := graph.Request{Operation: operation(t, "mail.message.list"), Mailbox: "me"}
		_, _, err := read(t, w, req)
		if wantFault(t, err, fault.Retry, false); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", head, err)
		}
	}
}

func zipped(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}

func TestAnErrorOfTheCallerComesBack(t *testing.T) {
	t.Parallel()
	w := serve(t, answerPage(`{"value":[1,2,3]}`), nil)
	for _, cause := range []error{errors.New("stream full"), io.EOF, fault.New(fault.Fatal, "x")} {
		calls := 0
		_, err := w.Page(t.Context(), delta(t), func([]byte) error {
			if calls++; calls == 2 {
				return cause
			}
			return nil
		})
		if !errors.Is(err, cause) || calls != 2 || fault.KindOf(err) != fault.KindOf(cause) {
			t.Errorf("error %v after %d items", err, calls)
		}
	}
}

func TestALostCursorAsksForAResync(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		writeError(rw, http.StatusGone, "SyncStateNotFound")
	}, nil)
	_, _, err := read(t, w, delta(t))
	wantFault(t, err, fault.Resync, false)

	// A stored link that does not fit is as lost, and is never called.
	calls.Store(0)
	for _, link := range []string{"https://evil.example/v1.0/me/mailFolders/inbox/messages/delta?a=b", "x", "http://127.0.0.1:1/v1.0/me/mailFolders/inbox/messages/delta?a=b"} {
		req := delta(t)
		req.Link = link
		_, _, err = read(t, w, req)
		if mark := wantFault(t, err, fault.Resync, false); mark.Code != "link_refused" {
			t.Errorf("code %q", mark.Code)
		}
	}
	if calls.Load() != 0 || len(w.dialed.list()) != 1 {
		t.Errorf("%d requests, dialed %q", calls.Load(), w.dialed.list())
	}
}

func TestSizesAreCapped(t *testing.T) {
	t.Parallel()
	caps := func(o *graph.Options) { o.HTTP.MaxItem, o.HTTP.MaxPage = 64<<10, 1<<20 }
	for name, body := range map[string]string{
		"item":         `{"value":["` + strings.Repeat("x", 200<<10) + `"]}`,
		"other member": `{"x":"` + strings.Repeat("x", 200<<10) + `","value":[]}`,
		"page":         `{"value":["` + strings.Repeat(strings.Repeat("x", 30<<10)+`","`, 50) + `"]}`,
	} {
		w := serve(t, answerPage(body), caps)
		_, _, err := read(t, w, delta(t))
		if mark := wantFault(t, err, fault.Retry, false); mark.Code != "answer_too_large" || mark.Hint == "" {
			t.Errorf("%s: code %q: %v", name, mark.Code, err)
		}
	}
	// Many items that are small pass, so the cap of one is not that of all.
	w := serve(t, answerPage(`{"value":["`+strings.Repeat(strings.Repeat("x", 30<<10)+`","`, 20)+`"],"@odata.deltaLink":"«base»/me/mailFolders/inbox/messages/delta?a=b"}`), caps)
	if _, items, err := read(t, w, delta(t)); err != nil || len(items) != 21 {
		t.Errorf("%d items, %v", len(items), err)
	}
}

// bomb is 40 MiB of one JSON string in a few hundred KiB of gzip.
func bomb() []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = io.WriteString(z, `{"value":["`)
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range 40 {
		_, _ = z.Write(block)
	}
	_, _ = io.WriteString(z, `"]}`)
	_ = z.Close()
	return b.Bytes()
}

// It is not parallel: it measures the memory of the process.
func TestBombsAndBigPagesTakeLittleMemory(t *testing.T) {
	body := bomb()
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "delta") {
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write(body)
			return
		}
		item := []byte(`{"id":"` + strings.Repeat("x", 30<<10) + `"},`)
		_, _ = io.WriteString(rw, `{"value":[`)
		for range 400 {
			_, _ = rw.Write(item)
		}
		_, _ = io.WriteString(rw, `0]}`)
	}, func(o *graph.Options) { o.HTTP.MaxItem, o.HTTP.MaxBody = 2<<20, 4<<20 })
	allocated := func(run func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	feed := delta(t) // reads the catalogue, before the measurement
	used := allocated(func() {
		_, err := w.Page(t.Context(), feed, func([]byte) error { return nil })
		if mark := wantFault(t, err, fault.Retry, false); mark.Code != "answer_too_large" {
			t.Errorf("bomb: %v", err)
		}
	})
	// All that the decoder's buffer ever was while it doubled up to the cap of
	// 2 MiB; at no time more than three quarters of it is in use.
	if used > 12<<20 {
		t.Errorf("a bomb took %d KiB", used>>10)
	}
	list := graph.Request{Operation: operation(t, "mail.message.list"), Mailbox: "me"}
	var size int64
	used = allocated(func() {
		page, err := w.Page(t.Context(), list, func([]byte) error { return nil })
		if err != nil || page.Items != 401 {
			t.Errorf("page %+v, %v", page, err)
			return
		}
		size = page.Bytes
	})
	if used > 2<<20 || size < 11<<20 {
		t.Errorf("a page of %d MiB took %d KiB", size>>20, used>>10)
	}
	used = allocated(func() {
		req := readMail(t)
		req.Operation, req.Path = operation(t, "mail.message.delta"), map[string]string{"mailFolder-id": "inbox"}
		_, err := w.Do(t.Context(), req)
		wantFault(t, err, fault.Retry, false)
	})
	// Likewise io.ReadAll's, up to 4 MiB.
	if used > 28<<20 {
		t.Errorf("a bomb took %d MiB in Do", used>>20)
	}
}

func TestASlowCallerIsNotASlowBody(t *testing.T) {
	t.Parallel()
	w := serve(t, answerPage(`{"value":[1,2],"@odata.deltaLink":"«base»/me/mailFolders/inbox/messages/delta?a=b"}`),
		func(o *graph.Options) { o.HTTP.ProgressTimeout = 250 * time.Millisecond })
	_, err := w.Page(t.Context(), delta(t), func([]byte) error {
		<-time.After(350 * time.Millisecond)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestANextLinkToThePageItselfIsRefused is about first pages above all: their
// address has no token, and followed it would be another first page.
func TestANextLinkToThePageItselfIsRefused(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]string{
		"as it was asked for": "«base»/me/mailFolders/inbox/messages/delta?$select=id,subject",
		"in another spelling": "«base»/me/mailfolders/inbox/messages/delta?%24select=id%2Csubject",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serve(t, answerPage(fmt.Sprintf(`{"value":[{"id":"1"}],"@odata.nextLink":%q}`, next)), nil)
			req := delta(t)
			req.Query = map[string]string{"$select": "id,subject"}
			_, _, err := read(t, w, req)
			if mark := fault.Of(err); err == nil || mark.Code != "page_loop" || mark.Kind != fault.Retry {
				t.Errorf("error %v, want a page_loop that is tried again", err)
			}
		})
	}
}
