package sandbox

// mailboxSettings: get, each property by its own path, update. A value that is
// not complex has {"value": …} on its own path. What automatic replies do is in
// settings_replies.go.
// https://learn.microsoft.com/graph/api/resources/mailboxsettings
//
// Custom time zones are kept as they come. Left out: what a language does to
// names of folders and to error texts.

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/zones"
)

func settingsRoutes() []route {
	routes := []route{
		{method: "GET", path: "~/mailboxSettings", handle: (*call).getSettings},
		{method: "PATCH", path: "~/mailboxSettings", handle: (*call).updateSettings},
	}
	for _, name := range []string{
		"automaticRepliesSetting", "dateFormat", "delegateMeetingMessageDeliveryOptions", "language", "timeFormat", "timeZone", "userPurpose", "workingHours",
	} {
		routes = append(routes, route{
			method: "GET", path: "~/mailboxSettings/" + name,
			handle: func(c *call) (*Answer, error) { return c.getSetting(name) },
		})
	}
	return routes
}

// setting is a setting of a mailbox as it is in force: what was never set has its
// default. It needs the lock.
func (b *mailbox) setting(name string) any {
	e := b.marked("mailboxSettings", "default")
	if e == nil {
		return nil
	}
	if v := e.Props[name]; v != nil {
		return v
	}
	switch name {
	case "archiveFolder":
		return makeID(idFolder, b.ID, b.wellKnown["archive"].Key, 0)
	case "language":
		return map[string]any{"locale": "en-US", "displayName": languageName("en-US")}
	case "workingHours":
		return map[string]any{
			"daysOfWeek": []any{"monday", "tuesday", "wednesday", "thursday", "friday"},
			"startTime":  "08:00:00.0000000", "endTime": "17:00:00.0000000",
			"timeZone": map[string]any{"name": "Pacific Standard Time"},
		}
	case "automaticRepliesSetting":
		day := time.Now().UTC().Truncate(24 * time.Hour)
		at := func(t time.Time) map[string]any {
			return map[string]any{"dateTime": t.Format("2006-01-02T15:04:05.0000000"), "timeZone": "UTC"}
		}
		return map[string]any{
			"status": "disabled", "externalAudience": "all", "internalReplyMessage": "", "externalReplyMessage": "",
			"scheduledStartDateTime": at(day), "scheduledEndDateTime": at(day.AddDate(0, 0, 1)),
		}
	}
	return nil
}

func (c *call) settingNames() ([]string, error) {
	var names []string
	t := typeNamed("mailboxSettings")
	for _, s := range c.query.selects {
		if s != "*" && t.fieldFold(s) == nil {
			return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.MailboxSettings'.", s)
		}
	}
	for _, f := range t.fields {
		if c.selected(f.name) {
			names = append(names, f.name)
		}
	}
	return names, nil
}

func (c *call) getSettings() (*Answer, error) {
	names, err := c.settingNames()
	if err != nil {
		return nil, err
	}
	var a *Answer
	c.read(func(*state) { a = c.shownSettings(names) })
	return a, nil
}

// shownSettings needs the lock.
func (c *call) shownSettings(names []string) *Answer {
	b := appendString([]byte(`{"@odata.context":`), c.metadata("mailboxSettings"))
	for _, name := range names {
		b = append(append(append(b, `,"`...), name...), `":`...)
		b = appendJSON(b, c.box.setting(name))
	}
	return c.jsonAnswer(http.StatusOK, append(b, '}'))
}

func (c *call) getSetting(name string) (*Answer, error) {
	var value any
	c.read(func(*state) { value = c.box.setting(name) })
	b := appendString([]byte(`{"@odata.context":`), c.metadata("mailboxSettings/"+name))
	obj, whole := value.(map[string]any)
	if !whole {
		obj = map[string]any{"value": value}
	}
	for _, key := range sortedKeys(obj) {
		b = append(append(append(b, `,"`...), key...), `":`...)
		b = appendJSON(b, obj[key])
	}
	return c.jsonAnswer(http.StatusOK, append(b, '}')), nil
}

func (c *call) updateSettings() (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	names, err := c.settingNames()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		e := c.box.marked("mailboxSettings", "default").clone()
		touched, err := e.write(typeNamed("mailboxSettings"), body, false)
		if err != nil {
			return err
		}
		for _, name := range touched {
			// A complex setting is changed member by member.
			if fresh, ok := e.Props[name].(map[string]any); ok {
				if old, ok := c.box.setting(name).(map[string]any); ok && name != "language" {
					whole := maps.Clone(old)
					maps.Copy(whole, fresh)
					e.Props[name] = whole
				}
			}
			if err := checkSetting(e, name); err != nil {
				return err
			}
			if name == "automaticRepliesSetting" {
				delete(e.Hidden, "answered") // they begin anew
			}
		}
		t.saveEntity(c.box, e, touched...)
		a = c.shownSettings(names)
		return nil
	})
	return a, err
}

var (
	dateFormatPattern = regexp.MustCompile(`^[dMy]+([-/. ,年月日]+[dMy]+)+\.?$`)
	timeFormatPattern = regexp.MustCompile(`^(h{1,2}[:.]mm ?t{1,2}|t{1,2} ?h{1,2}[:.]mm|H{1,2}[:.]mm)$`)
)

func checkSetting(e *entity, name string) error {
	bad := func(format string, args ...any) error {
		return newError(http.StatusBadRequest, "ErrorInvalidArgument", format, args...)
	}
	switch value := e.Props[name].(type) {
	case nil:
		return nil // back to the default
	case string:
		switch name {
		case "timeZone":
			return checkZone(value)
		case "dateFormat":
			if !dateFormatPattern.MatchString(value) {
				return bad("The date format '%s' is not valid.", value)
			}
		case "timeFormat":
			if !timeFormatPattern.MatchString(value) {
				return bad("The time format '%s' is not valid.", value)
			}
		}
	case map[string]any:
		switch name {
		case "language":
			locale, _ := value["locale"].(string)
			i := slices.IndexFunc(languages(), func(l [2]string) bool { return strings.EqualFold(l[0], locale) })
			if i < 0 {
				return bad("The locale '%s' is not supported.", locale)
			}
			e.Props[name] = map[string]any{"locale": languages()[i][0], "displayName": languages()[i][1]}
		case "workingHours":
			return checkHours(value)
		case "automaticRepliesSetting":
			return checkReplies(value)
		}
	}
	return nil
}

// checkZone refuses a time zone that has neither a Windows nor an IANA name.
func checkZone(name string) error {
	if _, ok := zones.Lookup(name); !ok {
		return newError(http.StatusBadRequest, "ErrorInvalidTimeZone", "The time zone '%s' is not supported.", name)
	}
	return nil
}

func checkHours(value map[string]any) error {
	zone, _ := value["timeZone"].(map[string]any)
	if name, _ := zone["name"].(string); name != "" && zone["bias"] == nil { // with a bias it is a custom zone
		if err := checkZone(name); err != nil {
			return err
		}
	}
	start, _ := value["startTime"].(string)
	end, _ := value["endTime"].(string)
	if start != "" && end != "" && longTime(end) <= longTime(start) {
		return newError(http.StatusBadRequest, "ErrorInvalidArgument", "The working hours end before they begin.")
	}
	for _, key := range []string{"startTime", "endTime"} {
		if text, ok := value[key].(string); ok {
			value[key] = longTime(text)
		}
	}
	return nil
}

// longTime writes a time of day with seven digits, as Outlook does.
func longTime(text string) string {
	if strings.Count(text, ":") == 1 {
		text += ":00"
	}
	whole, fraction, _ := strings.Cut(text, ".")
	return whole + "." + (fraction + "0000000")[:7]
}
