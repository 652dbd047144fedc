package worker

import (
	"context"
	"errors"
	"strings"
	"testing"

	"outlook-connector/config"
	"outlook-connector/internal/catalog"
	"outlook-connector/publisher"
)

// TestStopsRunLastInFirstOutAndTheirErrorsAreJoined needs the inside: nothing
// from outside makes two steps of the way down fail.
func TestStopsRunLastInFirstOutAndTheirErrorsAreJoined(t *testing.T) {
	t.Parallel()
	w, err := New(Options{Config: &config.Config{}})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	first, third := errors.New("first does not want to"), errors.New("third neither")
	w.onStop("first", func(context.Context) error { order = append(order, "first"); return first })
	w.onStop("second", func(context.Context) error { order = append(order, "second"); return nil })
	w.onStop("third", func(context.Context) error { order = append(order, "third"); return third })
	err = w.Stop(t.Context())
	if got := strings.Join(order, " "); got != "third second first" {
		t.Errorf("order: %s", got)
	}
	if !errors.Is(err, first) || !errors.Is(err, third) {
		t.Errorf("error: %v", err)
	}
	if text := err.Error(); !strings.Contains(text, "stop third: third neither") {
		t.Errorf("the error does not name its step: %s", text)
	}
	if err := w.Stop(t.Context()); err != nil || len(order) != 3 {
		t.Errorf("the second stop did something: %v %v", err, order)
	}
}

func TestTheStatusSaysWhereADeliveryIsWeaker(t *testing.T) {
	t.Parallel()
	ops := catalog.Default().Select("settings.category.*")
	ops = append(ops, catalog.Default().Select("mail.message.sendMail")...)
	if got := weaker(ops, publisher.AtMostOnce); len(got) != 0 {
		t.Errorf("at_most_once: %q", got)
	}
	got := weaker(ops, publisher.ExactlyOnce)
	if len(got) != 1 || !strings.HasPrefix(got[0], "settings.category.create: ") || !strings.HasSuffix(got[0], "at most once") {
		t.Errorf("exactly_once: %q", got)
	}
}
