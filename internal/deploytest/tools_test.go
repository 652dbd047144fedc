//go:build deploy

// Checks that need programs which are no Go modules of the product: helm, kubeconform,
// promtool and systemd-analyze. One that is missing is a failure. make check-deploy

package deploytest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"outlook-connector/config"
)

// tool runs a program in the root of the repository and returns what it printed, both
// streams together.
func tool(t *testing.T, stdin, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is needed: %v; make check-deploy says where to get it", name, err)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdin = root, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustTool(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	out, err := tool(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// everything is a set of values that uses all that the chart can.
const everything = `
config:
  nats: {url: "nats://nats:${env:NATS_PASSWORD}@nats:4222", replicas: 3, credentials_file: /run/secrets/outlook-connector/nats/worker.creds}
  clients:
    - name: contoso
      tenant: contoso.onmicrosoft.com
      grant: client_credentials
      client_id: 00000000-0000-0000-0000-000000000000
      client_secret: ${env:CONTOSO_SECRET}
  subscriptions:
    - {name: inbox, client: contoso, entity: mail.message.delta, mailboxes: [ann@contoso.com], path: {mailFolder-id: inbox}}
  publishers:
    - {name: send-mail, client: contoso, entity: mail.message.sendMail, mailboxes: ["*"]}
env: {NATS_PASSWORD: {secret: nats, key: password}}
ownerEnv: {CONTOSO_SECRET: {secret: contoso, key: client-secret}}
files: {nats: {secret: nats-creds}, contoso: {secret: contoso-certificate, owner: true}}
imagePullSecrets: [{name: registry}]
workers:
  replicas: 4
  maxUnavailable: 1
  podAnnotations: {a: b}
  nodeSelector: {kubernetes.io/os: linux}
  tolerations: [{key: a, operator: Exists}]
serviceAccount: {annotations: {a: b}, podLabels: {azure.workload.identity/use: "true"}}
ingress: {enabled: true, className: nginx, host: outlook.example.com}
networkPolicy:
  enabled: true
  from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  natsTo: [{podSelector: {matchLabels: {app: nats}}}]
  extraEgressPorts: [4318]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
prometheusRule: {enabled: true}
dashboard: {enabled: true}
autoscaling: {enabled: true, min: 2, max: 10, readyPerWorker: 100, prometheus: "http://prometheus:9090"}
`

func TestToolHelm(t *testing.T) {
	mustTool(t, "", "helm", "lint", "--strict", chart)
	schemas := t.TempDir()
	mustTool(t, "", "go", "run", "./internal/deploytest/schemas", schemas)
	cases := map[string]struct {
		values string
		pods   []string // roles
	}{
		"as it comes":            {"{}", []string{"subscriber,publisher,http", "tokens,http"}},
		"embedded NATS, one pod": {"{config: {nats: {url: null}}, workers: {replicas: 1}}", []string{""}},
		"everything":             {everything, []string{"subscriber,publisher,http", "tokens,http"}},
		"nothing that need be":   {"{networkPolicy: {enabled: false}, workers: {replicas: 2, maxUnavailable: null}}", []string{"subscriber,publisher,http", "tokens,http"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rendered := render(t, c.values)
			out := mustTool(t, rendered, "kubeconform", "-strict", "-summary",
				"-schema-location", schemas+"/{{.ResourceKind}}{{.KindSuffix}}.json")
			t.Log(strings.TrimSpace(out))
			checkPods(t, rendered, c.pods)
		})
	}
	t.Run("the ingress leads to what people need", func(t *testing.T) { checkIngress(t, render(t, everything)) })
	t.Run("names stay short", func(t *testing.T) {
		for release, want := range map[string]string{
			strings.Repeat("a", 53):                        strings.Repeat("a", 26) + "-outlook-connector-workers",
			"outlook-connector-" + strings.Repeat("a", 35): "outlook-connector-" + strings.Repeat("a", 26) + "-workers",
		} {
			out := mustTool(t, everything, "helm", "template", release, chart, "--kube-version", "1.37.0", "--values", "-")
			if len(want) != 52 || !strings.Contains(out, "\n  name: "+want+"\n") {
				t.Errorf("release %s has no %s, of %d characters", release, want, len(want))
			}
		}
	})
	t.Run("whom the network policy shuts out is told", func(t *testing.T) {
		const warning = "WARNING: networkPolicy.from is empty"
		copied := withNotes(t)
		for values, warned := range map[string]bool{
			"{}":                                false,
			"{ingress: {enabled: true}}":        true,
			"{serviceMonitor: {enabled: true}}": true,
			"{serviceMonitor: {enabled: true}, networkPolicy: {enabled: false}}": false,
			everything: false,
		} {
			out := mustTool(t, values, "helm", "template", "oc", copied, "--kube-version", "1.37.0", "--values", "-")
			if strings.Contains(out, warning) != warned {
				t.Errorf("%s: warned %t, want %t", values, !warned, warned)
			}
		}
	})
	t.Run("a misspelt member is not valid", func(t *testing.T) {
		out, err := tool(t, strings.Replace(render(t, everything), "serviceAccountName:", "serviceAcountName:", 1), "kubeconform", "-strict",
			"-schema-location", schemas+"/{{.ResourceKind}}{{.KindSuffix}}.json")
		if err == nil {
			t.Errorf("kubeconform takes it: %s", out)
		}
	})
	refused := map[string]string{
		"{config: {nats: {url: null}}}": "the embedded NATS lives in one pod",
		"{config: {nats: {url: null}}, workers: {replicas: 1}, autoscaling: {enabled: true}}": "the embedded NATS lives in one pod",
		"{env: {A: {secret: a, key: b}}, ownerEnv: {A: {secret: a, key: b}}}":                 "A is in env and in ownerEnv",
		"{config: {http: {listen: '127.0.0.1:1'}}}":                                           "listen",
		"{config: {token_store: {path: /tmp/tokens.db}}}":                                     "token_store",
	}
	for values, why := range refused {
		out, err := tool(t, values, "helm", "template", "oc", chart, "--kube-version", "1.37.0", "--values", "-")
		if err == nil || !strings.Contains(out, why) {
			t.Errorf("%s: %v, want %q\n%s", values, err, why, out)
		}
	}
}

// render returns the chart's objects.
func render(t *testing.T, values string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "helm", "template", "oc", chart, "--namespace", "mail", "--kube-version", "1.37.0", "--values", "-")
	cmd.Dir, cmd.Stdin = root, strings.NewReader(values)
	var problems bytes.Buffer
	cmd.Stderr = &problems // it tells of the links that it follows, too
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &problems)
	}
	return string(out)
}

// kubernetesObject is what is looked at of any object.
type kubernetesObject struct {
	Kind string
	Data map[string]string
	Spec struct {
		Template struct {
			Spec struct {
				Containers []struct {
					Args []string
					Env  []struct{ Name, Value string }
				}
			}
		}
	}
}

// withNotes returns a copy of the chart that renders its notes as an object: helm shows
// them only where there is a cluster.
func withNotes(t *testing.T) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "chart")
	mustTool(t, "", "cp", "-rL", chart, copied)
	if err := os.Rename(filepath.Join(copied, "templates/NOTES.txt"), filepath.Join(copied, "NOTES.txt")); err != nil {
		t.Fatal(err)
	}
	notes := "kind: Notes\ntext: {{ tpl (.Files.Get \"NOTES.txt\") . | toJson }}\n"
	if err := os.WriteFile(filepath.Join(copied, "templates/notes.yaml"), []byte(notes), 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

// checkIngress demands that the ingress leads to every route of the program but those
// for probes and scrapers, which need no credential.
func checkIngress(t *testing.T, rendered string) {
	t.Helper()
	exact, prefixes := make(map[string]bool), []string(nil)
	for _, found := range regexp.MustCompile(`- path: (\S+)\n\s+pathType: (\S+)`).FindAllStringSubmatch(rendered, -1) {
		if found[2] == "Exact" {
			exact[found[1]] = true
		} else {
			prefixes = append(prefixes, found[1]+"/")
		}
	}
	routes := regexp.MustCompile(`(?:open|closed)\("[A-Z]+ ([^"]+)"`).FindAllStringSubmatch(
		read(t, "internal/httpd/server.go")+read(t, "internal/httpd/terminal.go"), -1)
	if len(routes) < 10 {
		t.Fatalf("%d routes were found", len(routes))
	}
	for _, route := range routes {
		path := strings.TrimSuffix(route[1], "{$}")
		got := exact[path] || slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
		if want := !slices.Contains([]string{"/livez", "/readyz", "/metrics"}, path); got != want {
			t.Errorf("the ingress leads to %s: %t, want %t", path, got, want)
		}
	}
}

// checkPods demands that the program takes what the pods start, and that the
// configuration loads with the variables of each pod.
func checkPods(t *testing.T, rendered string, roles []string) {
	t.Helper()
	var objects []kubernetesObject
	decoder := yaml.NewDecoder(strings.NewReader(rendered))
	for {
		var object kubernetesObject
		if decoder.Decode(&object) != nil {
			break
		}
		objects = append(objects, object)
	}
	var text string
	for _, object := range objects {
		if file, ok := object.Data["outlook-connector.yaml"]; ok {
			text = file
		}
	}
	var got []string
	for _, object := range objects {
		for _, container := range object.Spec.Template.Spec.Containers {
			runs(t, container.Args...)
			got = append(got, strings.Join(container.Args[min(2, len(container.Args)):], ""))
			_, err := config.Parse(config.Source{
				File: "/etc/outlook-connector/outlook-connector.yaml", Data: []byte(text),
				LookupEnv: func(name string) (string, bool) {
					for _, env := range container.Env {
						if env.Name == name && env.Value != "" {
							return env.Value, true
						} else if env.Name == name {
							return example(name), true
						}
					}
					return "", false
				},
			})
			if err != nil {
				t.Errorf("%s: %v\n%s", object.Kind, err, text)
			}
		}
	}
	if strings.Join(got, ";") != strings.Join(roles, ";") {
		t.Errorf("the pods take the roles %q, want %q", got, roles)
	}
}

func TestToolPromtool(t *testing.T) {
	t.Log(mustTool(t, "", "promtool", "check", "rules", "deploy/prometheus/alerts.yml"))
	t.Log(mustTool(t, "", "promtool", "test", "rules", "deploy/prometheus/alerts_test.yml"))
	// The file as compose mounts it.
	dir := t.TempDir()
	rules, err := filepath.Abs(filepath.Join(root, "deploy/prometheus/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.yml")
	text := strings.ReplaceAll(read(t, "deploy/compose/prometheus.yml"), "/etc/prometheus/alerts.yml", rules)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log(mustTool(t, "", "promtool", "check", "config", file))
}

// exposed is what systemd-analyze security may find at most, out of 10.
const exposed = 1.5

func TestToolSystemd(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "outlook-connector.service")
	// The program is not installed here; its place is the only change.
	text := strings.ReplaceAll(read(t, "deploy/systemd/outlook-connector.service"), "/usr/bin/outlook-connector", "/bin/true")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := mustTool(t, "", "systemd-analyze", "verify", "--man=no", file); strings.Contains(out, "outlook-connector") {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	out := mustTool(t, "", "systemd-analyze", "security", "--offline=true", file)
	found := regexp.MustCompile(`Overall exposure level[^:]*: ([0-9.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze security tells no level:\n%s", out)
	}
	level, err := strconv.ParseFloat(found[1], 64)
	if err != nil || level > exposed {
		t.Errorf("exposure %s, at most %.1f\n%s", found[1], exposed, out)
	}
	t.Logf("exposure %s", found[1])
}
