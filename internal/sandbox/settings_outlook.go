package sandbox

// outlook/supportedLanguages and outlook/supportedTimeZones, in the Windows and
// the IANA form. https://learn.microsoft.com/graph/api/resources/outlookuser
//
// Left out: most of the languages; some forty of Outlook's are here.

import (
	"net/http"
	"slices"
	"strings"

	"outlook-connector/internal/sandbox/zones"
)

func outlookRoutes() []route {
	return []route{
		{method: "GET", path: "~/outlook/supportedLanguages", handle: (*call).supportedLanguages},
		{method: "GET", path: "~/outlook/supportedTimeZones", handle: (*call).supportedZones},
	}
}

// languageTable is a locale and its name in its own language, a line each.
const languageTable = `af-ZA|Afrikaans (Suid-Afrika)
ar-SA|العربية (المملكة العربية السعودية)
bg-BG|български (България)
ca-ES|català (català)
cs-CZ|čeština (Česko)
da-DK|dansk (Danmark)
de-AT|Deutsch (Österreich)
de-CH|Deutsch (Schweiz)
de-DE|Deutsch (Deutschland)
el-GR|Ελληνικά (Ελλάδα)
en-AU|English (Australia)
en-CA|English (Canada)
en-GB|English (United Kingdom)
en-IE|English (Ireland)
en-IN|English (India)
en-NZ|English (New Zealand)
en-US|English (United States)
en-ZA|English (South Africa)
es-ES|español (España)
es-MX|español (México)
et-EE|eesti (Eesti)
fi-FI|suomi (Suomi)
fr-BE|français (Belgique)
fr-CA|français (Canada)
fr-CH|français (Suisse)
fr-FR|français (France)
he-IL|עברית (ישראל)
hi-IN|हिन्दी (भारत)
hr-HR|hrvatski (Hrvatska)
hu-HU|magyar (Magyarország)
id-ID|Indonesia (Indonesia)
it-IT|italiano (Italia)
ja-JP|日本語 (日本)
ko-KR|한국어 (대한민국)
lt-LT|lietuvių (Lietuva)
lv-LV|latviešu (Latvija)
nb-NO|norsk bokmål (Norge)
nl-BE|Nederlands (België)
nl-NL|Nederlands (Nederland)
pl-PL|polski (Polska)
pt-BR|português (Brasil)
pt-PT|português (Portugal)
ro-RO|română (România)
ru-RU|русский (Россия)
sk-SK|slovenčina (Slovensko)
sl-SI|slovenščina (Slovenija)
sv-SE|svenska (Sverige)
th-TH|ไทย (ไทย)
tr-TR|Türkçe (Türkiye)
uk-UA|українська (Україна)
vi-VN|Tiếng Việt (Việt Nam)
zh-CN|中文(中国)
zh-TW|中文(台灣)`

// languages are the locales and their names.
func languages() [][2]string {
	var list [][2]string
	for line := range strings.SplitSeq(languageTable, "\n") {
		locale, name, _ := strings.Cut(line, "|")
		list = append(list, [2]string{locale, name})
	}
	return list
}

func languageName(locale string) string {
	for _, l := range languages() {
		if l[0] == locale {
			return l[1]
		}
	}
	return ""
}

func (c *call) supportedLanguages() (*Answer, error) {
	list := []map[string]string{}
	for _, l := range languages() {
		list = append(list, map[string]string{"locale": l[0], "displayName": l[1]})
	}
	return c.collectionOf("microsoft.graph.localeInfo", list), nil
}

// collectionOf answers with a collection of complex values, which is not paged.
func (c *call) collectionOf(kind string, list any) *Answer {
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#Collection("+kind+")")
	return c.jsonAnswer(http.StatusOK, append(appendJSON(append(b, `,"value":`...), list), '}'))
}

func (c *call) supportedZones() (*Answer, error) {
	// timeZoneStandard'Iana' or 'Iana'; its quotes are gone in part.
	standard := strings.TrimRight(c.params["timezonestandard"], "'")
	standard = standard[strings.LastIndexByte(standard, '\'')+1:]
	list := []map[string]string{}
	switch strings.ToLower(standard) {
	case "", "windows":
		for _, z := range zones.All() {
			list = append(list, map[string]string{"alias": z.Windows, "displayName": z.Display})
		}
	case "iana":
		for _, z := range zones.All() {
			list = append(list, map[string]string{"alias": z.IANA, "displayName": z.IANA})
		}
		slices.SortFunc(list, func(a, b map[string]string) int { return strings.Compare(a["alias"], b["alias"]) })
	default:
		return nil, errParseURI("The value '%s' of TimeZoneStandard is not valid.", standard)
	}
	return c.collectionOf("microsoft.graph.timeZoneInformation", list), nil
}
