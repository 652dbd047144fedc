package sandbox

// Bodies as a request wants them: as text or HTML (Prefer:
// outlook.body-content-type), without what a page could do harm with unless it is
// asked for (outlook.allow-unsafe-html), and without the quotation of what it
// answers (uniqueBody). Without the preference a body comes as it was written;
// Graph's page says HTML there, and what it sends was seen to be either.
// https://learn.microsoft.com/graph/api/message-get

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

func appendBody(b []byte, body itemBody) []byte {
	b = append(append(b, `{"contentType":"`...), body.ContentType...)
	return append(appendString(append(b, `","content":`...), body.Content), '}')
}

// body is a body as it is preferred.
func (p preferences) body(body itemBody) itemBody {
	switch {
	case p.bodyType == "text" && body.ContentType == "html":
		return itemBody{"text", plainText(body.Content)}
	case p.bodyType == "html" && body.ContentType == "text":
		return itemBody{"html", pageOf(body.Content)}
	case body.ContentType == "html" && !p.unsafe:
		return itemBody{"html", safeHTML(body.Content)}
	}
	return body
}

// body is a body as the request wants it.
func (v *view) body(body itemBody) itemBody {
	p := v.prefer
	if p.bodyType == "" && v.call != nil && v.call.opts.mail.htmlBodies {
		p.bodyType = "html"
	}
	return p.body(body)
}

// pageOf is a text as a page.
func pageOf(text string) string {
	lines := strings.ReplaceAll(html.EscapeString(strings.ReplaceAll(text, "\r\n", "\n")), "\n", "<br>\r\n")
	return "<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body>\r\n<div class=\"PlainText\">" + lines + "</div>\r\n</body></html>"
}

// plainText is a page as text, with its lines.
func plainText(source string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(source))
	hidden := 0
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		name, _ := z.TagName()
		tag := string(name)
		switch {
		case kind == html.TextToken && hidden == 0:
			words := string(z.Text())
			if strings.TrimSpace(words) != "" {
				b.WriteString(html.UnescapeString(strings.NewReplacer("\r", "", "\n", " ").Replace(words)))
			}
		case slices.Contains([]string{"script", "style", "head", "title"}, tag) && kind == html.StartTagToken:
			hidden++
		case slices.Contains([]string{"script", "style", "head", "title"}, tag) && kind == html.EndTagToken:
			hidden = max(hidden-1, 0)
		case tag == "br" || kind == html.EndTagToken && slices.Contains([]string{"p", "div", "tr", "li", "h1", "h2", "h3"}, tag):
			b.WriteString("\r\n")
		case tag == "hr":
			b.WriteString("\r\n" + textQuoteMark + "\r\n")
		}
	}
	return strings.TrimSpace(b.String())
}

var (
	unsafeHTML  = regexp.MustCompile(`(?i)<(script|iframe|object|embed|applet|form|input|button|meta|base|link)\b|javascript:|[\s"'/]on[a-z]+\s*=`)
	unsafeTags  = []string{"script", "iframe", "object", "embed", "applet"}
	unsafeEmpty = []string{"form", "input", "button", "base", "link"}
)

// safeHTML takes away scripts, handlers and embedded pages, and leaves everything
// else as it is written.
func safeHTML(source string) string {
	if !unsafeHTML.MatchString(source) {
		return source
	}
	var b bytes.Buffer
	z := html.NewTokenizer(strings.NewReader(source))
	inside := ""
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			if !errors.Is(z.Err(), io.EOF) {
				b.Write(z.Raw())
			}
			return b.String()
		}
		raw := slices.Clone(z.Raw())
		tok := z.Token()
		switch {
		case inside != "":
			if kind == html.EndTagToken && tok.Data == inside {
				inside = ""
			}
		case kind == html.StartTagToken && slices.Contains(unsafeTags, tok.Data):
			inside = tok.Data
		case slices.Contains(unsafeTags, tok.Data) && kind != html.TextToken, slices.Contains(unsafeEmpty, tok.Data) && kind != html.TextToken:
		case kind == html.StartTagToken || kind == html.SelfClosingTagToken:
			kept := slices.DeleteFunc(slices.Clone(tok.Attr), func(a html.Attribute) bool {
				return strings.HasPrefix(a.Key, "on") || strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:")
			})
			if len(kept) == len(tok.Attr) {
				b.Write(raw)
				continue
			}
			tok.Attr = kept
			b.WriteString(tok.String())
		default:
			b.Write(raw)
		}
	}
}

// What stands before the quotation in a reply.
const (
	htmlQuoteMark = `<hr tabindex="-1" style="display:inline-block; width:98%">`
	textQuoteMark = "________________________________"
)

// uniqueBody is a body without the quotation.
func uniqueBody(body itemBody) itemBody {
	if body.ContentType == "text" {
		text, _, _ := strings.Cut(body.Content, textQuoteMark)
		return itemBody{"text", strings.TrimSpace(text)}
	}
	before, _, found := strings.Cut(body.Content, htmlQuoteMark)
	if !found {
		return body
	}
	return itemBody{"html", before + "</body></html>"}
}
