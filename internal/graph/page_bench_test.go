package graph_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/graph"
)

// BenchmarkPage reads pages of 100 messages of 4 KB over HTTP and hands them
// out. One operation is a page.
func BenchmarkPage(b *testing.B) {
	body := strings.Repeat(`<p class=\"MsoNormal\">The quick brown fox jumps over the lazy dog; caf\u00e9.</p>\r\n`, 44)
	var page strings.Builder
	page.WriteString(`{"@odata.context":"bench","value":[`)
	for i := range 100 {
		if i > 0 {
			page.WriteByte(',')
		}
		fmt.Fprintf(&page, `{"@odata.etag":"W/\"%d\"","id":"%d","receivedDateTime":"2026-03-01T10:00:00Z","body":{"contentType":"html","content":"%s"}}`, i, i, body)
	}
	page.WriteString(`],"@odata.deltaLink":"http://%s/v1.0/me/mailFolders/inbox/messages/delta?$deltatoken=1"}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(strings.Replace(page.String(), "%s", r.Host, 1)))
	}))
	defer server.Close()
	op, err := catalog.Default().Lookup("mail.message.delta")
	if err != nil {
		b.Fatal(err)
	}
	client, err := graph.New(graph.Options{
		Name: "bench", BaseURL: server.URL, Tokens: &tokens{}, Limits: graph.Limits{Requests: 1 << 30},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	b.SetBytes(int64(page.Len()))
	b.ReportAllocs()
	for b.Loop() {
		items := 0
		_, err := client.Page(b.Context(), graph.Request{Operation: op, Mailbox: "me", Path: map[string]string{"mailFolder-id": "inbox"}}, func([]byte) error {
			items++
			return nil
		})
		if err != nil || items != 100 {
			b.Fatalf("%d items, %v", items, err)
		}
	}
}
