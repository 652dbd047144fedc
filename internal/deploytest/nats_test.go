package deploytest_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The file that the servers of compose read makes three of them a cluster that takes
// streams with three copies, synced at every write, for the user of the configuration
// and for nobody else. Only the addresses are others than in compose.
func TestTheServersOfComposeAreACluster(t *testing.T) {
	// Variables of the file come from the environment, so this test is not parallel.
	passwords := map[string]string{"NATS_PASSWORD": "s0e1", "ROUTE_PASSWORD": "s2", "SYS_PASSWORD": "s3"}
	environment := load[composeFile](t, composePath).Services["nats-1"].Environment
	if len(environment) != 7 {
		t.Fatalf("the servers have %d variables", len(environment))
	}
	for name, value := range environment {
		t.Setenv(name, variable.ReplaceAllStringFunc(value, func(v string) string {
			return passwords[variable.FindStringSubmatch(v)[1]]
		}))
	}
	ports := freePorts(t, 3)
	var servers []*server.Server
	for i, port := range ports {
		t.Setenv("NODE", fmt.Sprintf("nats-%d", i+1))
		o, err := server.ProcessConfigFile(filepath.Join(root, "deploy/compose/nats.conf"))
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Routes) != 3 || o.Port != 4222 || o.Cluster.Port != 6222 || o.HTTPPort != 8222 || o.StoreDir != "/data" || !o.SyncAlways {
			t.Fatalf("routes %v, ports %d %d %d, folder %s, sync always %t", o.Routes, o.Port, o.Cluster.Port, o.HTTPPort, o.StoreDir, o.SyncAlways)
		}
		o.Host, o.Port, o.Cluster.Host, o.Cluster.Port, o.HTTPPort = "127.0.0.1", -1, "127.0.0.1", port, 0
		o.StoreDir, o.NoSigs, o.NoLog = t.TempDir(), true, true
		for i, route := range o.Routes {
			if route.Host != fmt.Sprintf("nats-%d:6222", i+1) {
				t.Errorf("route %d goes to %s", i, route.Host)
			}
			route.Host = fmt.Sprintf("127.0.0.1:%d", ports[i])
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
	}
	for _, s := range servers {
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatalf("%s does not start", s.Name())
		}
	}
	if _, err := nats.Connect(servers[0].ClientURL()); err == nil {
		t.Error("the server lets everybody in")
	}
	conn, err := nats.Connect(servers[0].ClientURL(), nats.UserInfo("outlook", "s0e1"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := conn.JetStream(nats.MaxWait(2 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	// The three have to find each other and to choose a leader first.
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-ticker.C {
		if _, err = js.AddStream(&nats.StreamConfig{Name: "THREE", Replicas: 3}); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// variable is one of compose: ${NAME:?what to do}.
var variable = regexp.MustCompile(`\$\{([A-Z_]+)[^}]*\}`)

// freePorts returns ports of this machine that nobody has.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// What the shell writes for NATS must not be taken for a number by its configuration.
func TestSecretsForNATSBeginWithALetter(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(root, "deploy/compose/secrets.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(script), `secret "$name" s`) {
		t.Error("secrets.sh writes passwords that may begin with a digit")
	}
}
