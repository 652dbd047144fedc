package tokenstore_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/tokenstore"
)

func TestWhatHappensToAGrantIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var told []string
		w.changed = func(_ context.Context, c tokenstore.GrantChange) {
			if c.Client != clientName || c.Account.UPN == "" || c.Granted.IsZero() || len(c.Scopes) == 0 {
				t.Errorf("change %+v", c)
			}
			told = append(told, c.Change+c.Reason)
		}
		w.restart(t)
		w.signIn(t)
		w.idp.refuseWith(400, "interaction_required")
		after(120 * time.Minute)
		w.noToken(t)
		w.noToken(t)
		w.idp.breakWith(nil)
		w.signIn(t)
		for range 2 { // the second one finds none
			if err := w.keeper.Logout(t.Context(), clientName); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(told); got != "[signed_in endedinteraction_required signed_in signed_out]" {
			t.Errorf("told %s", got)
		}
	})
}
