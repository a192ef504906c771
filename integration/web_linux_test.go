package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"usvs/link/netnstest"
)

// nginxConf answers with the server's name, serves files from www, and takes
// uploads below /up/. One process, as the only user there may be: that works everywhere.
const nginxConf = `
daemon off;
user root root;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	client_max_body_size 0;
	sendfile on;
	server {
		%[3]s
		location / { return 200 "%[2]s\n"; }
		location /www/ { root %[1]s; }
		location /up/ { root %[1]s; dav_methods PUT; create_full_put_path on; }
	}
}
`

// startNginx starts a web server that listens on TCP ports, IPv4 and IPv6, and
// returns its directory, in which www is served and up is filled.
func startNginx(t *testing.T, ns *netnstest.Namespace, ports ...int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	listen := ""
	for _, p := range ports {
		listen += fmt.Sprintf("listen %d; listen [::]:%d ipv6only=on; ", p, p)
	}
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, ns.Name(), listen), 0o644))
	p := ns.Start("nginx", "-p", dir, "-c", conf, "-e", "stderr")
	eventually(t, "nginx on "+ns.Name(), func() bool {
		select {
		case <-p.Done():
			t.Fatalf("nginx on %s ended: %s", ns.Name(), p.Output())
		default:
		}
		conn, err := ns.Dial("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0])))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return dir
}

// browse makes n requests with curl, a connection each, and returns who
// answered, in order.
func browse(t *testing.T, ns *netnstest.Namespace, hostPort string, n int) []string {
	t.Helper()
	out, err := tryBrowse(ns, hostPort, n)
	require.NoError(t, err, "%d requests to %s: %s", n, hostPort, out)
	names := strings.Fields(out)
	require.Len(t, names, n)
	return names
}

func tryBrowse(ns *netnstest.Namespace, hostPort string, n int) (string, error) {
	return ns.Try("curl", "--silent", "--show-error", "--fail", "--connect-timeout", "10", "--max-time", "60",
		"--fail-early", "--noproxy", "*", "--header", "Connection: close", fmt.Sprintf("http://%s/?[1-%d]", hostPort, n))
}

// assertNobody: a request there is refused or not answered.
func assertNobody(t *testing.T, ns *netnstest.Namespace, hostPort string) {
	t.Helper()
	out, err := ns.Try("curl", "--silent", "--connect-timeout", "1", "--noproxy", "*", "http://"+hostPort+"/")
	assert.Error(t, err, "%s answered: %s", hostPort, out)
}

// shares counts who answered how often.
func shares(names []string) map[string]int {
	m := map[string]int{}
	for _, n := range names {
		m[n]++
	}
	return m
}
