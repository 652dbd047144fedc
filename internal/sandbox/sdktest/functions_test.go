package sdktest_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"slices"
	"testing"

	"github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

func TestIdsAreTranslated(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	id := c.draft(t, "Translated", ben)
	in := users.NewItemTranslateExchangeIdsPostRequestBody()
	in.SetInputIds([]string{id})
	in.SetSourceIdType(new(models.RESTID_EXCHANGEIDFORMAT))
	in.SetTargetIdType(new(models.RESTIMMUTABLEENTRYID_EXCHANGEIDFORMAT))
	page, err := c.me.TranslateExchangeIds().PostAsTranslateExchangeIdsPostResponse(t.Context(), in, nil)
	ok(t, err, "translateExchangeIds")
	same(t, "ids", len(page.GetValue()), 1)
	same(t, "source", value(page.GetValue()[0].GetSourceId()), id)
	lasting := value(page.GetValue()[0].GetTargetId())

	to := users.NewItemMessagesItemMovePostRequestBody()
	to.SetDestinationId(new("archive"))
	_, err = c.me.Messages().ByMessageId(id).Move().Post(t.Context(), to, nil)
	ok(t, err, "move")
	got, err := c.me.Messages().ByMessageId(lasting).Get(t.Context(), &users.ItemMessagesMessageItemRequestBuilderGetRequestConfiguration{Headers: header("Prefer", `IdType="ImmutableId"`)})
	ok(t, err, "get by the immutable id after the move")
	same(t, "subject", value(got.GetSubject()), "Translated")
	same(t, "id", value(got.GetId()), lasting)
}

func TestMailTips(t *testing.T) {
	t.Parallel()
	w := start(t)
	reply := models.NewAutomaticRepliesSetting()
	reply.SetStatus(new(models.ALWAYSENABLED_AUTOMATICREPLIESSTATUS))
	reply.SetInternalReplyMessage(new("I am away."))
	settings := models.NewMailboxSettings()
	settings.SetAutomaticRepliesSetting(reply)
	_, err := w.as(ben).me.MailboxSettings().Patch(t.Context(), settings, nil)
	ok(t, err, "switch automatic replies on")
	in := users.NewItemGetMailTipsPostRequestBody()
	in.SetEmailAddresses([]string{ben, cleo})
	in.SetMailTipsOptions(new(models.MailTipsType(models.AUTOMATICREPLIES_MAILTIPSTYPE | models.MAILBOXFULLSTATUS_MAILTIPSTYPE)))
	page, err := w.as(ann).me.GetMailTips().PostAsGetMailTipsPostResponse(t.Context(), in, nil)
	ok(t, err, "getMailTips")
	same(t, "tips", len(page.GetValue()), 2)
	same(t, "address", value(page.GetValue()[0].GetEmailAddress().GetAddress()), ben)
	same(t, "reply", value(page.GetValue()[0].GetAutomaticReplies().GetMessage()), "I am away.")
	same(t, "mailbox full", value(page.GetValue()[1].GetMailboxFull()), false)
}

func TestSupportedZonesAndLanguages(t *testing.T) {
	t.Parallel()
	c := start(t).as(ann)
	windows, err := c.me.Outlook().SupportedTimeZones().GetAsSupportedTimeZonesGetResponse(t.Context(), nil)
	ok(t, err, "supportedTimeZones()")
	if got := names(windows.GetValue(), models.TimeZoneInformationable.GetAlias); !slices.Contains(got, "W. Europe Standard Time") {
		t.Errorf("W. Europe Standard Time is not among %q", got)
	}
	iana, err := c.me.Outlook().SupportedTimeZonesWithTimeZoneStandard(new("Iana")).GetAsSupportedTimeZonesWithTimeZoneStandardGetResponse(t.Context(), nil)
	ok(t, err, "supportedTimeZones(TimeZoneStandard='Iana')")
	if got := names(iana.GetValue(), models.TimeZoneInformationable.GetAlias); !slices.Contains(got, "Europe/Berlin") {
		t.Errorf("Europe/Berlin is not among %q", got)
	}
	languages, err := c.me.Outlook().SupportedLanguages().GetAsSupportedLanguagesGetResponse(t.Context(), nil)
	ok(t, err, "supportedLanguages()")
	if got := names(languages.GetValue(), models.LocaleInfoable.GetLocale); !slices.Contains(got, "en-US") {
		t.Errorf("en-US is not among %q", got)
	}
}

func TestReminderView(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	in := meeting("Dentist", 1)
	in.SetIsReminderOn(new(true))
	in.SetReminderMinutesBeforeStart(new(int32(15)))
	_, err := c.me.Events().Post(t.Context(), in, nil)
	ok(t, err, "create an event")
	page, err := c.me.ReminderViewWithStartDateTimeWithEndDateTime(new("2027-03-02T00:00:00Z"), new("2027-03-01T00:00:00Z")).
		GetAsReminderViewWithStartDateTimeWithEndDateTimeGetResponse(t.Context(), nil)
	ok(t, err, "reminderView")
	same(t, "reminders", len(page.GetValue()), 1)
	same(t, "subject", value(page.GetValue()[0].GetEventSubject()), "Dentist")
	same(t, "fires", value(page.GetValue()[0].GetReminderFireTime().GetDateTime()), "2027-03-01T08:45:00.0000000")
}

func TestMeetingTimesAreFound(t *testing.T) {
	t.Parallel()
	w := start(t)
	_, err := w.as(ben).me.Events().Post(t.Context(), meeting("Dentist", 1), nil) // 9:00 to 9:30
	ok(t, err, "create an event")
	slot := models.NewTimeSlot()
	slot.SetStart(at("2027-03-01T09:00:00", "UTC"))
	slot.SetEnd(at("2027-03-01T11:00:00", "UTC"))
	limits := models.NewTimeConstraint()
	limits.SetTimeSlots([]models.TimeSlotable{slot})
	limits.SetActivityDomain(new(models.UNRESTRICTED_ACTIVITYDOMAIN))
	who := models.NewAttendeeBase()
	who.SetEmailAddress(recipient(ben).GetEmailAddress())
	who.SetTypeEscaped(new(models.REQUIRED_ATTENDEETYPE))
	hour, err := serialization.ParseISODuration("PT1H")
	ok(t, err, "a duration")
	in := users.NewItemFindMeetingTimesPostRequestBody()
	in.SetAttendees([]models.AttendeeBaseable{who})
	in.SetTimeConstraint(limits)
	in.SetMeetingDuration(hour)
	in.SetMinimumAttendeePercentage(new(float64(100)))
	got, err := w.as(ann).me.FindMeetingTimes().Post(t.Context(), in, nil)
	ok(t, err, "findMeetingTimes")
	if len(got.GetMeetingTimeSuggestions()) == 0 {
		t.Fatalf("no suggestion: %s", value(got.GetEmptySuggestionsReason()))
	}
	for _, s := range got.GetMeetingTimeSuggestions() {
		if from := value(s.GetMeetingTimeSlot().GetStart().GetDateTime()); from < "2027-03-01T09:30" || from > "2027-03-01T10:00:00.1" {
			t.Errorf("a suggestion at %s", from)
		}
		same(t, "confidence", value(s.GetConfidence()), 100)
	}
}

func TestPhoto(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	var picture bytes.Buffer
	ok(t, jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 64)), nil), "paint a picture")
	card, err := c.me.Contacts().Post(t.Context(), contact("Rosa", "Diaz", "rosa@fabrikam.example"), nil)
	ok(t, err, "create a contact")
	at := c.me.Contacts().ByContactId(value(card.GetId())).Photo()
	if _, err := at.Get(t.Context(), nil); err == nil {
		t.Error("a contact without a photo has one")
	}
	_, err = at.Content().Put(t.Context(), picture.Bytes(), nil)
	ok(t, err, "put")
	got, err := at.Content().Get(t.Context(), nil)
	ok(t, err, "get")
	back, err := jpeg.Decode(bytes.NewReader(got))
	ok(t, err, "see it")
	same(t, "width", back.Bounds().Dx(), 64)
}
