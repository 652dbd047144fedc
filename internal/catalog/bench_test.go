package catalog_test

import (
	"testing"

	"outlook-connector/internal/catalog"
)

// BenchmarkBuild is what the address of a request costs: of one without
// parameters, and of one with some.
func BenchmarkBuild(b *testing.B) {
	for _, bench := range []struct {
		name, operation string
		params          catalog.Params
	}{
		{"bare", "mail.message.sendMail", catalog.Params{Mailbox: "user-0042@contoso.com"}},
		{"item", "mail.message.get", catalog.Params{
			Mailbox: "user-0042@contoso.com", Path: map[string]string{"message-id": "AAMkAGI2TG93AAA="}, Query: map[string]string{"$select": "id,subject"},
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			op, err := catalog.Default().Lookup(bench.operation)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := op.Build(bench.params); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
