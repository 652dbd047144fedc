package xform

import (
	"fmt"
	"strings"
)

// charged are functions of gojq that go through all of their input in one
// instruction, with what a byte of it may cost. Those with f evaluate f once
// per element before.
var charged = []struct {
	names string
	times int
}{
	{"tojson tostring ascii_downcase ascii_upcase implode min max min_by(f) max_by(f) bsearch(f)", 1},
	{"keys reverse add format(f) _tohtml _touri _tourid _tocsv _totsv _tosh _tobase64 _tobase64d", 4},
	{"flatten flatten(f) sort sort_by(f) group_by(f) unique unique_by(f)", 8},
	{"fromjson explode", 24},
}

// checked are definitions that put a check before a function of gojq or take
// its place. The inner functions behind the operators of assignment (_modify,
// _assign, _add and so on) and behind formats and interpolation (tostring,
// _tohtml and so on) are looked up by gojq like any other, so a definition
// here covers them too.
//
// The functions of regular expressions are our own: gojq counts the characters
// before each match anew, which takes seconds for the tags of one long mail,
// and keeps every expression it has ever seen.
const checked = `
def _xform_p_tonumber: _xform_digits($__run) | tonumber;
def tonumber: _xform_p_tonumber;
def _xform_p_split(s): s as $s | _xform_split($__run; $s) | split($s);
def split(s): _xform_p_split(s);
def _xform_p_join(s): s as $s | _xform_join($__run; $s) | join($s);
def join(s): _xform_p_join(s);
def _xform_p_transpose: _xform_transpose($__run) | transpose;
def transpose: _xform_p_transpose;
def _xform_p_contains(x): x as $x | _xform_search($__run; $x) | contains($x);
def contains(x): _xform_p_contains(x);
def inside(x): . as $x | x | contains($x);
def _xform_p_indices(x): x as $x | _xform_search($__run; $x) | indices($x);
def indices(x): _xform_p_indices(x);
def _xform_p_index(x): x as $x | _xform_search($__run; $x) | index($x);
def index(x): _xform_p_index(x);
def _xform_p_rindex(x): x as $x | _xform_search($__run; $x) | rindex($x);
def rindex(x): _xform_p_rindex(x);
def _xform_p_strftime(f): (f | _xform_charge($__run; 16)) as $f | strftime($f);
def strftime(f): _xform_p_strftime(f);
def _xform_p_strflocaltime(f): (f | _xform_charge($__run; 16)) as $f | strflocaltime($f);
def strflocaltime(f): _xform_p_strflocaltime(f);
def _xform_p_strptime(f): (f | _xform_charge($__run; 16)) as $f | _xform_charge($__run; 1) | strptime($f);
def strptime(f): _xform_p_strptime(f);
def add(f): [f] | add;

def _add(l; r): l + r;
def _subtract(l; r): l - r;
def _multiply(l; r): l * r;
def _divide(l; r): l / r;
def _xform_p_modify(p; f): _modify(getpath(path(p) | _xform_path($__run)); f);
def _modify(p; f): _xform_p_modify(p; f);
def _xform_p_assign(p; x): _assign(getpath(path(p) | _xform_path($__run)); x);
def _assign(p; x): _xform_p_assign(p; x);
def _xform_p_setpath(p; x): setpath(p | _xform_path($__run); x);
def setpath(p; x): _xform_p_setpath(p; x);
def pick(f): . as $v | reduce path(f) as $p (null; setpath($p; $v | getpath($p)));
def fromstream(f):
  foreach f as $event ({};
    (if .end then {} else . end)
    | if ($event | length) == 2
      then {value: (.value | setpath($event[0]; $event[1])), end: ($event[0] == [])}
      else {value: .value, end: ($event[0] | length == 1)}
      end;
    if .end then .value else empty end);

def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] = $row);
def INDEX(f): INDEX(.[]; f);

def match($re; $flags): _xform_match($__run; $re; $flags)[];
def match($re): if $re | type == "array" then match($re[0]; $re[1]) else match($re; null) end;
def test($re; $flags): _xform_test($__run; $re; $flags);
def test($re): if $re | type == "array" then test($re[0]; $re[1]) else test($re; null) end;
def capture($re; $flags): match($re; $flags) | reduce (.captures[] | select(.name)) as $c ({}; .[$c.name] = $c.string);
def capture($re): if $re | type == "array" then capture($re[0]; $re[1]) else capture($re; null) end;
def scan($re; $flags): match($re; $flags + "g") | if .captures == [] then .string else [.captures[].string] end;
def scan($re): scan($re; null);
def splits($re; $flags): _xform_sub($__run; $re; $flags + "g")[] | .before;
def splits($re): splits($re; null);
def split($re; $flags): [splits($re; $flags)];
def sub($re; str; $flags):
  . as $text
  | [_xform_sub($__run; $re; $flags)[] | {before: .before, with: [(.named // empty) | str]}]
  | _xform_glue($__run)
  | if length == 0 then $text else .[] end;
def sub($re; str): sub($re; str; null);
def gsub($re; str; $flags): sub($re; str; $flags + "g");
def gsub($re; str): sub($re; str; "g");
`

// preludeSource are the definitions that stand before every program. A function
// takes two steps to put a check before one of the same name: inside its own
// definition the name would mean itself.
var preludeSource = func() string {
	var b strings.Builder
	for _, group := range charged {
		for head := range strings.FieldsSeq(group.names) {
			name, params, _ := strings.Cut(head, "(")
			if params != "" {
				params = "(" + params
			}
			fmt.Fprintf(&b, "def _xform_p_%s%s: _xform_charge($__run; %d) | %s%s;\n", name, params, group.times, name, params)
			fmt.Fprintf(&b, "def %s%s: _xform_p_%s%s;\n", name, params, name, params)
		}
	}
	return b.String() + checked
}()
