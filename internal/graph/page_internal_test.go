package graph

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzPage: the splitter never panics, hands out valid values only, and takes
// every page that encoding/json takes.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{"value":[{"id":"1"},{"id":"2"}],"@odata.nextLink":"x"}`, `{"value":[{"bodyPreview":"cut \ud83d"}]}`,
		`{"value":[],"value":[]}`, `{"@odata.deltaLink":null,"value":[[[[]]]]}`, `{"value":[1e999,-0,"\u0000"]} `, `[`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var items [][]byte
		s := splitter{begin: func() {}, emit: func(item []byte) error {
			if !jsontext.Value(item).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) {
				t.Fatalf("item %q is no JSON", item)
			}
			items = append(items, bytes.Clone(item))
			return nil
		}}
		err := s.run(bytes.NewReader(body))
		if err == nil && (!validJSON(body) || s.items != len(items)) {
			t.Fatalf("%q passed with %d items of %d", body, len(items), s.items)
		}
		var page struct {
			Value []json.RawMessage `json:"value"`
		}
		simple := json.Valid(body) && json.Unmarshal(body, &page) == nil && page.Value != nil &&
			strings.Count(strings.ToLower(string(body)), "value") == 1 && !bytes.Contains(body, []byte("odata")) && !bytes.ContainsRune(body, '\\') &&
			bytes.Contains(body, []byte(`"value"`))
		if simple && (err != nil || len(items) != len(page.Value)) {
			t.Fatalf("%q: %d items of %d, %v", body, len(items), len(page.Value), err)
		}
	})
}
