package sandbox_test

import (
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

// The generic store, seen where nothing is modelled by hand: work hours.

const (
	workOccurrences = workHours + "/occurrences"
	anOccurrence    = `{"start":{"dateTime":"2030-05-06T09:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-05-06T17:00:00","timeZone":"UTC"},"workLocationType":"office","placeId":"p1"}`
)

func TestTheGenericStoreKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, sandbox.StoreDir(dir)).as(ann, placeScopes)
	made := w.do(http.MethodPost, workOccurrences, anOccurrence).is(http.StatusCreated)
	one := workOccurrences + "/" + made.str("id")
	if got := w.get(one).is(http.StatusOK); got.str("placeId") != "p1" || got.str("workLocationType") != "office" {
		t.Errorf("it is %s", got.raw)
	}
	// PUT sets what the body does not name to what it is at first.
	if got := w.do(http.MethodPut, one, strings.Replace(anOccurrence, `,"placeId":"p1"`, "", 1)).is(http.StatusOK); got.json["placeId"] != nil {
		t.Errorf("after PUT it is %s", got.raw)
	}
	w.as(ben, placeScopes).get(one).is(http.StatusNotFound, "ErrorItemNotFound")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, sandbox.StoreDir(dir)).as(ann, placeScopes)
	again.get(one).is(http.StatusOK)
	again.do(http.MethodDelete, one, "").is(http.StatusNoContent)
	again.get(one).is(http.StatusNotFound, "ErrorItemNotFound")
}

func TestTheGenericStoreListsAsOutlookDoes(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, placeScopes)
	for _, where := range []string{"office", "remote", "office"} {
		w.do(http.MethodPost, workOccurrences, strings.Replace(anOccurrence, "office", where, 1)).is(http.StatusCreated)
	}
	r := w.get(workOccurrences + "?$top=2&$count=true&$select=workLocationType&$orderby=workLocationType").is(http.StatusOK)
	list := r.value()
	if len(list) != 2 || r.json["@odata.count"] != 3.0 || list[0]["placeId"] != nil || list[1]["workLocationType"] != "office" {
		t.Errorf("the first page is %s", r.raw)
	}
	if rest := w.get(r.str("@odata.nextLink")).is(http.StatusOK).value(); len(rest) != 1 || rest[0]["workLocationType"] != "remote" {
		t.Errorf("the second page is %v", rest)
	}
	if n := len(w.get(workOccurrences + "?$filter=workLocationType%20eq%20'remote'").is(http.StatusOK).value()); n != 1 {
		t.Errorf("the filter finds %d", n)
	}
	w.get(workOccurrences+"?$select=colour").is(http.StatusBadRequest, "RequestBroker--ParseUri")
}

func TestTheGenericStoreRefusesWhatTheTypeDoesNotHave(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, placeScopes)
	for _, c := range []struct{ body, code string }{
		{strings.Replace(anOccurrence, `"placeId":"p1"`, `"colour":"red"`, 1), "RequestBodyRead"},
		{strings.Replace(anOccurrence, `"p1"`, `1`, 1), "RequestBodyRead"},
		{strings.Replace(anOccurrence, `"office"`, `"moon"`, 1), "RequestBodyRead"},
		{`{"workLocationType":"office"}`, "ErrorInvalidRequest"},
		{``, "BadRequest"},
	} {
		w.do(http.MethodPost, workOccurrences, c.body).is(http.StatusBadRequest, c.code)
	}
	if list := w.get(workOccurrences).value(); len(list) > 0 {
		t.Errorf("there are %v", list)
	}
}

func TestAThingThatIsAlwaysThereIsChangedInPlace(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, placeScopes)
	first := w.get(workHours).is(http.StatusOK)
	if first.str("maxSharedWorkLocationDetails") != "specific" {
		t.Errorf("at first it is %s", first.raw)
	}
	for _, want := range []string{"none", "approximate"} {
		w.do(http.MethodPatch, workHours, `{"maxSharedWorkLocationDetails":"`+want+`"}`).is(http.StatusOK)
		if got := w.get(workHours); got.str("maxSharedWorkLocationDetails") != want || got.str("id") != first.str("id") {
			t.Errorf("it is %s, want %s", got.raw, want)
		}
	}
}
