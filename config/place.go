package config

import (
	"errors"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/xform"
)

// placeWithin returns the line and column of a byte of a value. It is exact for
// plain text on one line, for quoted text on one line without escapes, and for
// literal blocks (|). For others, folded over several lines, it is where the
// value begins.
func (d *document) placeWithin(node *yaml.Node, offset int) (line, column int, exact bool) {
	if node.Kind == yaml.AliasNode {
		return node.Line, node.Column, false
	}
	before := node.Value[:min(max(offset, 0), len(node.Value))]
	if node.Style&yaml.LiteralStyle != 0 {
		return d.placeInBlock(node, before)
	}
	if node.Line < 1 || node.Line > len(d.lines) {
		return node.Line, node.Column, false
	}
	source := []rune(strings.TrimSuffix(d.lines[node.Line-1], "\r"))
	start := node.Column - 1
	if node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		start++
	}
	value := []rune(node.Value)
	if node.Anchor != "" || start < 0 || start+len(value) > len(source) || string(source[start:start+len(value)]) != node.Value {
		return node.Line, node.Column, false
	}
	return node.Line, start + utf8.RuneCountInString(before) + 1, true
}

// placeInBlock is placeWithin for literal blocks: the lines below the | with
// their common indentation taken off.
func (d *document) placeInBlock(node *yaml.Node, before string) (line, column int, exact bool) {
	row := strings.Count(before, "\n")
	rest := before[strings.LastIndexByte(before, '\n')+1:]
	rows := strings.Split(node.Value, "\n")
	line = node.Line + 1 + row
	if line > len(d.lines) {
		return node.Line, node.Column, false
	}
	source := strings.TrimSuffix(d.lines[line-1], "\r")
	indent, found := strings.CutSuffix(source, rows[row])
	if !found || strings.Trim(indent, " ") != "" {
		return node.Line, node.Column, false
	}
	return line, len(indent) + utf8.RuneCountInString(rest) + 1, true
}

// addProgram reports a mistake in a jq program.
func (d *document) addProgram(path, src string, err error) {
	if d.hasFailed(path) {
		return
	}
	const hint = "mend the jq program; https://jqlang.org/manual describes the language"
	line, column := d.place(path)
	problem := Problem{Line: line, Column: column, Path: path, Hint: hint, cause: err}
	problem.Text = subject(path) + ": this is not a jq program: " + err.Error()
	if d.filledIn(path) {
		// What the program is now came out of a ${…}: neither it nor a place in
		// it is shown.
		problem.Text = subject(path) + ": with its ${…} filled in this is not a jq program"
		d.push(problem)
		return
	}
	if syntax, ok := errors.AsType[*xform.SyntaxError](err); ok {
		if node := d.nodes[path]; node != nil {
			if l, c, exact := d.placeWithin(node, syntax.Offset); exact {
				problem.Line, problem.Column = l, c
			}
		}
		problem.Excerpt = excerpt(src, syntax.Offset)
	}
	d.push(problem)
}

// excerpt returns the line of a program around an offset and a caret below it.
func excerpt(src string, offset int) string {
	const around = 60
	offset = min(max(offset, 0), len(src))
	start := strings.LastIndexByte(src[:offset], '\n') + 1
	end := len(src)
	if i := strings.IndexByte(src[offset:], '\n'); i >= 0 {
		end = offset + i
	}
	left, right := []rune(src[start:offset]), []rune(src[offset:end])
	if len(left) > around {
		left = append([]rune{'…'}, left[len(left)-around:]...)
	}
	if len(right) > around {
		right = append(right[:around:around], '…')
	}
	plain := func(r []rune) string { return strings.ReplaceAll(string(r), "\t", " ") }
	return plain(left) + plain(right) + "\n" + strings.Repeat(" ", len(left)) + "^"
}

// codeOf returns the code of a marked error.
func codeOf(err error) string { return fault.Of(err).Code }
