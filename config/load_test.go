package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/config"
)

func TestWhatComesFromOutsideIsNeverYAML(t *testing.T) {
	t.Parallel()
	src := source("test.yaml", []byte(contoso+`
publishers:
  - name: send-mail
    client: contoso
    entity: mail.message.sendMail
    payload: {subject: "${env:EVIL}", again: "${env:EVIL} and ${file:evil}"}
`))
	const evil = "x\"}\nhttp: {listen: 0.0.0.0:80}\n${env:CONTOSO_SECRET}"
	lookup, read := src.LookupEnv, src.ReadFile
	src.LookupEnv = func(name string) (string, bool) {
		if name == "EVIL" {
			return evil, true
		}
		return lookup(name)
	}
	src.ReadFile = func(path string) ([]byte, error) {
		if path == "evil" {
			return []byte(evil), nil
		}
		return read(path)
	}
	c, err := config.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Listen != "127.0.0.1:8480" {
		t.Errorf("a value changed another key: %s", c.HTTP.Listen)
	}
	if got := c.Publishers[0].Payload["subject"]; got != evil {
		t.Errorf("subject = %q, want the value as it is, with nothing in it filled in", got)
	}
	if got := c.Publishers[0].Payload["again"]; got != evil+" and "+evil {
		t.Errorf("again = %q", got)
	}
}

func TestPayloadsKeepTheirNumbersAndTypes(t *testing.T) {
	t.Parallel()
	c := mustParse(t, contoso+`
publishers:
  - name: send-mail
    client: contoso
    entity: mail.message.sendMail
    payload:
      big: 12345678901234567890123
      exact: 1.50
      small: 1e-7
      hex: 0x1F
      leading: .5
      text: "1"
      yes: yes
      truth: True
      nothing: null
      when: 2026-01-01T00:00:00Z
      list: [1, [2]]
      empty: {}
`)
	got, err := json.Marshal(c.Publishers[0].Payload)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"big":12345678901234567890123,"empty":{},"exact":1.50,"hex":31,"leading":0.5,"list":[1,[2]],"nothing":null,` +
		`"small":1e-7,"text":"1","truth":true,"when":"2026-01-01T00:00:00Z","yes":"yes"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
}

func TestPublishersKnowTheirOperations(t *testing.T) {
	t.Parallel()
	c := mustParse(t, contoso+`
publishers:
  - {name: one, client: contoso, entity: "Mail - Send mail"}
  - {name: some, client: contoso, entities: ["mail.message.send*", mail.message.sendMail], mailboxes: ["*"]}
  - {name: deletes, client: contoso, entities: ["mail.*"], method: delete}
`)
	if ops := c.Publishers[0].Operations(); len(ops) != 1 || ops[0].ID != "mail.message.sendMail" {
		t.Errorf("one: %v", ops)
	}
	seen := make(map[string]int)
	for _, op := range c.Publishers[1].Operations() {
		seen[op.ID]++
	}
	if seen["mail.message.send"] != 1 || seen["mail.message.sendMail"] != 1 {
		t.Errorf("some: %v, want each once", seen)
	}
	if len(c.Publishers[2].Operations()) == 0 {
		t.Error("deletes: none")
	}
	for _, op := range c.Publishers[2].Operations() {
		if op.Method != http.MethodDelete {
			t.Errorf("deletes: %s is a %s", op.ID, op.Method)
		}
	}
}

func TestProblemsHaveADataForm(t *testing.T) {
	t.Parallel()
	_, err := parse(t, "log:\n  level: loud\n")
	problems, ok := errors.AsType[config.Problems](err)
	if !ok {
		t.Fatal(err)
	}
	got, err := json.Marshal(problems)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"test.yaml","line":2,"column":10,"path":"log.level","text":"level: \"loud\" is not known","hint":"one of debug, info, warn, error"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAFileOfNothingButMistakesIsToldOnce(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "lo%d: {}\n", i)
	}
	_, err := parse(t, text.String())
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) != 101 || !strings.Contains(problems[100].Text, "more problems") {
		t.Fatalf("%d problems, the last %v", len(problems), problems[len(problems)-1])
	}
}

// TestHostileFilesEndSoon feeds files that grow when they are read.
func TestHostileFilesEndSoon(t *testing.T) {
	t.Parallel()
	keys := new(strings.Builder)
	for i := range 20_000 {
		fmt.Fprintf(keys, "clinets%d: 1\n", i)
	}
	merges := "publishers:\n  - payload:\n      a0: &a0 {x: 1}\n"
	for i := 1; i < 40; i++ {
		merges += fmt.Sprintf("      a%d: &a%d {<<: *a%d, k%d: *a%d}\n", i, i, i-1, i, i-1)
	}
	for name, text := range map[string]string{
		"flow depth":   strings.Repeat("[", 500_000),
		"block depth":  strings.Repeat("- ", 300_000),
		"deep payload": "publishers: [{payload: " + strings.Repeat("{a: ", 4000) + "1" + strings.Repeat("}", 4000) + "}]",
		"many keys":    keys.String(),
		"merges":       merges,
		"self merge":   "log: &l\n  <<: *l\n  level: info\n",
		"self list":    "clients: &c [*c, *c]\n",
		"long scalar":  "log: {level: " + strings.Repeat("x", 900_000) + "}",
		"long env":     "log: {level: \"" + strings.Repeat("${env:X}", 100_000) + "\"}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			_, err := parse(t, text)
			if _, ok := errors.AsType[config.Problems](err); !ok {
				t.Errorf("accepted, or another error: %v", err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
			if err != nil && len(err.Error()) > 64<<10 {
				t.Errorf("the problems have %d bytes", len(err.Error()))
			}
		})
	}
}

func TestLineEndsOfWindowsChangeNothing(t *testing.T) {
	t.Parallel()
	windows := func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
	if _, err := parse(t, windows(string(config.Sample()))); err != nil {
		t.Errorf("the sample: %v", err)
	}
	_, err := parse(t, windows(contoso+`subscriptions:
  - name: inbox
    client: contoso
    entity: mail.message.delta
    path: {mailFolder-id: inbox}
    transform: |
      select(.isRead) |
      .subject | | .x
    every: 30x
`))
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) != 2 || problems[0].Line != 15 || problems[0].Column != 18 || problems[1].Line != 16 {
		t.Errorf("problems:\n%v", err)
	}
}

// TestProgramsAreToldAtTheirPlace covers the ways to write a text.
func TestProgramsAreToldAtTheirPlace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lines        string
		line, column int
	}{
		"plain":                  {"transform: .a | | .b", 13, 21},
		"single quotes":          {"transform: '.a | | .b'", 13, 22},
		"double quotes":          {`transform: ".a | | .b"`, 13, 22},
		"after other characters": {`transform: "\"ä\" | | .b"`, 13, 16}, // escapes: only where the text begins
		"not only ASCII":         {`transform: '"ä" | | .b'`, 13, 23},
		"literal":                {"transform: |\n      .a |\n        .b | | .c", 15, 14},
		"literal, stripped":      {"transform: |-\n      .a | | .c", 14, 12},
		"folded":                 {"transform: >\n      .a |\n      | .c", 13, 16},
		"on the next line":       {"transform:\n      .a | | .c", 14, 12},
		"over two lines":         {"transform: .a |\n      | .c", 13, 16},
		"by alias":               {"request_transform: &p '.a | | .b'\n    transform: *p", 13, 24},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, contoso+`subscriptions:
  - name: inbox
    client: contoso
    entity: mail.message.delta
    path: {mailFolder-id: inbox}
    `+tc.lines+"\n")
			problems, ok := errors.AsType[config.Problems](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			got := problems[0]
			if got.Line != tc.line || got.Column != tc.column {
				t.Errorf("at %d:%d, want %d:%d", got.Line, got.Column, tc.line, tc.column)
			}
			_, caret, _ := strings.Cut(got.Excerpt, "\n")
			if strings.TrimLeft(caret, " ") != "^" {
				t.Errorf("excerpt without its caret: %q", got.Excerpt)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "sample.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(secretive))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(source("fuzz.yaml", data))
		if err != nil {
			problems, ok := errors.AsType[config.Problems](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("not a list of problems: %v", err)
			}
			lines := strings.Count(string(data), "\n") + 1
			for _, p := range problems {
				if p.Text == "" || p.Hint == "" || p.Line < 0 || p.Line > lines+1 {
					t.Errorf("%d lines, problem %+v", lines, p)
				}
			}
			// What is written in the file itself may be repeated, what comes
			// from outside never.
			if strings.Contains(err.Error(), canary) && !strings.Contains(string(data), canary) {
				t.Errorf("a secret is in the problems: %v", err)
			}
			return
		}
		shown, err := c.Show()
		if err != nil {
			t.Fatalf("a good configuration cannot be shown: %v", err)
		}
		again, err := c.Show()
		if err != nil || string(shown) != string(again) {
			t.Errorf("shown differently a second time: %v", err)
		}
	})
}
