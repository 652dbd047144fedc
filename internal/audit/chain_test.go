package audit_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/audit"
)

// Lines that earlier versions stored, to the byte: their hashes are what later
// rows are tied to, and what was noted elsewhere.
func TestLinesAreWrittenAsTheyEverWere(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 8, 0, 0, 5e6, time.UTC)
	rows := []audit.Row{
		{Start: &audit.Start{Worker: "w", Host: "h", PID: 7, Version: "1", Roles: []string{"publisher"}}},
		{Command: &audit.Command{
			ID: "OUTLOOK_PUBLISH-12", Key: "send.OUTLOOK_PUBLISH-12", Subject: "outlook.publish.send", Stream: "OUTLOOK_PUBLISH", Sequence: 12,
			MsgID: "a<b>&\"\u2028\xff", Publisher: "send", Entity: "mail.message.sendMail", Mailbox: "anna@example.com",
			Decision: "allowed", Outcome: "done", Status: 202, RequestID: "r", ClientRequestID: "c", Attempts: 1,
			Received: at, Finished: at.Add(31 * time.Millisecond), PayloadHash: "9f86",
		}},
		{End: &audit.End{}},
	}
	want := []string{
		`{"v":1,"chain":"20261120T080000Z-abcdefghij","n":1,"prev":"","time":"2026-11-20T08:00:00.005Z","kind":"start","start":{"worker":"w","host":"h","pid":7,"version":"1","roles":["publisher"]},"hash":"9ba4889732b0b95f1ffc86c91b8aea6491cd3feecdefe8a8ba862a6f624bdb1d"}`,
		`{"v":1,"chain":"20261120T080000Z-abcdefghij","n":2,"prev":"9ba4889732b0b95f1ffc86c91b8aea6491cd3feecdefe8a8ba862a6f624bdb1d","time":"2026-11-20T08:00:01.005Z","kind":"command","command":{"id":"OUTLOOK_PUBLISH-12","key":"send.OUTLOOK_PUBLISH-12","subject":"outlook.publish.send","stream":"OUTLOOK_PUBLISH","sequence":12,"msg_id":"a<b>&\"\u2028\ufffd","publisher":"send","entity":"mail.message.sendMail","mailbox":"anna@example.com","decision":"allowed","outcome":"done","status":202,"request_id":"r","client_request_id":"c","attempts":1,"received":"2026-11-20T08:00:00.005Z","finished":"2026-11-20T08:00:00.036Z","payload_hash":"9f86"},"hash":"e3063915ed4b21038a0e1ab24a7ff39f737e718a483100c3c18bd2d9bcf53444"}`,
		`{"v":1,"chain":"20261120T080000Z-abcdefghij","n":3,"prev":"e3063915ed4b21038a0e1ab24a7ff39f737e718a483100c3c18bd2d9bcf53444","time":"2026-11-20T08:00:02.005Z","kind":"end","end":{"rows":3},"hash":"2466902bbbae8f9d7a7ca0e196143bd2498e398eb43499a7e3c1da4e6dcccafb"}`,
	}
	chain := audit.NewChain("20261120T080000Z-abcdefghij")
	var message []byte
	var ends []int
	for i := range rows {
		var err error
		if message, err = chain.AppendTo(message, &rows[i], at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(message))
	}
	from := 0
	for i, end := range ends {
		if got := string(message[from:end]); got != want[i] {
			t.Errorf("row %d:\n%s\nwant:\n%s", i+1, got, want[i])
		}
		from = end
	}
}

// The rows of commands have an encoder of their own, which must know every member.
func TestTheRowOfACommandIsWhatJSONMakesOfIt(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[ -~]{1,20}`), rapid.String(), rapid.SampledFrom([]string{"\xff", "\u2028", "\x7f", "<&>"}))
	rapid.Check(t, func(t *rapid.T) {
		var c audit.Command
		for name, member := range reflect.ValueOf(&c).Elem().Fields() {
			switch value := member.Addr().Interface().(type) {
			case *string:
				*value = text.Draw(t, name.Name)
			case *int:
				*value = rapid.IntRange(-1, 600).Draw(t, name.Name)
			case *uint64:
				*value = rapid.Uint64().Draw(t, name.Name)
			case *bool:
				*value = rapid.Bool().Draw(t, name.Name)
			case *time.Time:
				*value = time.Unix(rapid.Int64Range(-1e9, 1e10).Draw(t, name.Name), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
			default:
				t.Fatalf("a member of another kind: %s", name.Name)
			}
		}
		row := audit.Row{Command: &c}
		line, err := audit.NewChain(text.Draw(t, "chain")).AppendTo([]byte("before"), &row, begin)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(row); err != nil {
			t.Fatal(err)
		}
		body, rest, ok := bytes.Cut(line[len("before"):], []byte(`,"hash":"`))
		if !ok || len(rest) != 64+len(`"}`) || string(body)+"}\n" != want.String() {
			t.Fatalf("%s\nwant:\n%s", line, want.String())
		}
	})
}
