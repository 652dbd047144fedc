package telemetry_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// These tests keep alerts, run-books and the dashboard together with the metrics
// that there are. "promtool test rules deploy/prometheus/alerts_test.yml" tells
// whether each alert fires, and this whether it can.
const (
	metricsList = "../../worker/testdata/metrics.txt"
	alertsFile  = "../../deploy/prometheus/alerts.yml"
	alertsTests = "../../deploy/prometheus/alerts_test.yml"
	dashboard   = "../../deploy/grafana/outlook-connector.json"
	runbooks    = "../../docs/operate/runbooks"
)

// labels returns the labels of each metric that a scrape has.
func labels(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{"process_start_time_seconds": nil} // of the library
	for line := range strings.Lines(text(t, metricsList)) {
		fields := strings.SplitN(line, "|", 4)
		if len(fields) != 4 {
			t.Fatalf("line %q", line)
		}
		names := []string{fields[0]}
		if fields[1] == "histogram" {
			names = []string{fields[0] + "_bucket", fields[0] + "_sum", fields[0] + "_count"}
			fields[2] += " le"
		}
		for _, name := range names {
			all[name] = strings.Fields(fields[2])
		}
	}
	return all
}

func text(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	selector = regexp.MustCompile(`\b((?:outlook|process)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
)

// checkExpression tells what an expression asks for that there is not.
func checkExpression(t *testing.T, what, expr string, known map[string][]string) {
	t.Helper()
	found := selector.FindAllStringSubmatch(expr, -1)
	if len(found) == 0 {
		t.Errorf("%s asks for nothing of ours: %s", what, expr)
	}
	for _, m := range found {
		has, ok := known[m[1]]
		if !ok {
			t.Errorf("%s: there is no metric %s", what, m[1])
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(has, l[1]) && l[1] != "instance" && l[1] != "job" {
				t.Errorf("%s: %s has no label %s", what, m[1], l[1])
			}
		}
	}
}

type alertRule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alertRule } }
	if err := yaml.Unmarshal([]byte(text(t, alertsFile)), &file); err != nil {
		t.Fatal(err)
	}
	var rules []alertRule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) == 0 {
		t.Fatal("no alerts")
	}
	return rules
}

func TestEachAlertUsesMetricsThatThereAreAndHasARunBook(t *testing.T) {
	t.Parallel()
	known := labels(t)
	pages := map[string]bool{"README.md": true}
	index := text(t, filepath.Join(runbooks, "README.md"))
	for _, rule := range alertRules(t) {
		checkExpression(t, rule.Alert, rule.Expr, known)
		if rule.Labels["severity"] != "warning" && rule.Labels["severity"] != "critical" {
			t.Errorf("%s has severity %q", rule.Alert, rule.Labels["severity"])
		}
		if rule.For == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s says too little", rule.Alert)
		}
		page := filepath.Base(rule.Annotations["runbook_url"])
		if rule.Annotations["runbook_url"] != "docs/operate/runbooks/"+page {
			t.Errorf("%s leads to %s", rule.Alert, rule.Annotations["runbook_url"])
		}
		pages[page] = true
		book := text(t, filepath.Join(runbooks, page))
		for _, part := range []string{"# " + rule.Alert + "\n", rule.Expr, "## What it means", "## How to look", "## What to do", "## How to know that it is over"} {
			if !strings.Contains(book, part) {
				t.Errorf("%s does not have %q", page, part)
			}
		}
		if !strings.Contains(index, "["+rule.Alert+"]("+page+")") {
			t.Errorf("the list of run-books does not have %s", rule.Alert)
		}
	}
	files, err := os.ReadDir(runbooks)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !pages[file.Name()] {
			t.Errorf("run-book %s is of no alert", file.Name())
		}
	}
}

func TestEachAlertIsTestedFiringAndQuiet(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Input []struct{ Series string } `yaml:"input_series"`
			Rules []struct {
				Name   string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(text(t, alertsTests)), &file); err != nil {
		t.Fatal(err)
	}
	firing, quiet := map[string]bool{}, map[string]bool{}
	known := labels(t)
	for _, test := range file.Tests {
		for _, input := range test.Input {
			if strings.HasPrefix(input.Series, "outlook_") {
				checkExpression(t, "a test's input", input.Series, known)
			}
		}
		for _, rule := range test.Rules {
			if len(rule.Alerts) > 0 {
				firing[rule.Name] = true
			} else {
				quiet[rule.Name] = true
			}
		}
	}
	for _, rule := range alertRules(t) {
		if !firing[rule.Alert] || !quiet[rule.Alert] {
			t.Errorf("%s is tested firing: %t, quiet: %t", rule.Alert, firing[rule.Alert], quiet[rule.Alert])
		}
	}
}

// TestTheDashboardAsksForMetricsThatThereAre also has each panel fit its grid.
func TestTheDashboardAsksForMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	var board struct {
		UID        string
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Panels []struct {
			Title, Type string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(text(t, dashboard)), &board); err != nil {
		t.Fatal(err)
	}
	known := labels(t)
	shown := map[string]bool{}
	variables := []string{"__rate_interval"}
	for _, v := range board.Templating.List {
		variables = append(variables, v.Name)
		if v.Definition != "" {
			checkExpression(t, "variable "+v.Name, v.Definition, known)
		}
	}
	taken := map[[2]int]string{}
	for _, panel := range board.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %s shows nothing", panel.Title)
		}
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			for y := panel.GridPos.Y; y < panel.GridPos.Y+panel.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %s lies on %q at %d,%d", panel.Title, other, x, y)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
		for _, target := range panel.Targets {
			checkExpression(t, "panel "+panel.Title, target.Expr, known)
			for _, m := range selector.FindAllStringSubmatch(target.Expr, -1) {
				shown[strings.TrimSuffix(m[1], "_bucket")] = true
			}
			for _, m := range regexp.MustCompile(`\$\{?([a-z_]+)`).FindAllStringSubmatch(target.Expr, -1) {
				if !slices.Contains(variables, m[1]) {
					t.Errorf("panel %s: there is no variable %s", panel.Title, m[1])
				}
			}
		}
	}
	if len(shown) < 25 {
		t.Errorf("only %d metrics are shown", len(shown))
	}
}

// TestLinksOfThesePagesLeadSomewhere follows those to files and to headings.
func TestLinksOfThesePagesLeadSomewhere(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"page.md", "metrics.md", "logs.md"} {
		pages = append(pages, filepath.Join(filepath.Dir(runbooks), page))
	}
	link := regexp.MustCompile(`(?:\]\(|src=")([^)"]+)`)
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(text(t, page), -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			file, heading, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(page), file)
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			if heading != "" && !strings.Contains(strings.ToLower(text(t, target)), "\n## "+strings.ReplaceAll(heading, "-", " ")) {
				t.Errorf("%s: %s has no heading %s", page, file, heading)
			}
		}
	}
}
