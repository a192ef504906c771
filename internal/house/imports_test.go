package house

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rules: a package may import those on the right, and what they may import.
// Nothing else of this module. Imports point down, never up or sideways.
const rules = `
clock                      ->
wire                       ->
vrrp                       -> wire clock
route                      -> wire
trie                       ->
iproute                    ->
keepalived                 -> iproute
script                     ->
notify                     -> script
keepalived/wanted          -> keepalived ipvs
track                      -> script
ipvs                       -> wire clock
arp                        -> wire clock
health                     -> ipvs clock
marks                      -> wire
localstack                 -> wire clock
dissect                    -> wire
sched                      -> ipvs
sched/model                -> sched
conntrack                  -> ipvs
conntrack/keeper           -> conntrack
forward                    -> conntrack
connsync                   -> conntrack
link                       -> clock wire
link/vnet                  -> wire
link/steer                 -> wire
link/staff                 -> clock
link/wrap                  -> wire
link/internal/netns        ->
link/afpacket              -> link link/vnet link/steer link/wrap link/internal/waiter link/internal/netns
link/afxdp                 -> link/afpacket
link/tun                   -> link link/vnet link/steer link/internal/waiter
link/pcap                  -> link
link/linktest              -> link
link/netnstest             -> wire
link/netlab                -> wire
app                        ->
director                   -> app sched forward arp localstack link marks route connsync trie
ipvsadm                    -> ipvs
ipvsadm/resolve            -> ipvs
sysctl                     -> ipvs
control                    -> director ipvsadm sysctl procnet
node                       -> control vrrp health keepalived/wanted
explain                    -> control dissect
plan                       -> explain keepalived/wanted
oracle                     -> control dissect oracle/shell
oracle/shell               ->
procnet                    -> ipvs
netsim                     -> control netsim/tcp netsim/http node health/path health/dialog
netsim/tcp                 -> wire clock
netsim/netconn             -> netsim
health/path                -> ipvs netsim/tcp
health/dialog              -> health
health/probe               -> health/dialog script track
health/via                 -> health/probe health/path director
netsim/http                -> netsim/tcp
netsim/show                -> netsim dissect
examples                   ->
scenario                   -> netsim netsim/http
scenario/netns             -> scenario link/netlab link/afpacket
chaos                      -> netsim netsim/http keepalived
netsim/fuzz                -> scenario sched/model netsim/fuzz/machine
netsim/fuzz/machine        ->
bench                      ->
bench/sim                  -> bench netsim
bench/testbed              -> control conntrack/keeper
bench/table                -> bench bench/testbed
bench/engine               -> bench bench/testbed
bench/flame                ->
bench/load                 -> wire
bench/traffic              ->
bench/lab                  -> bench bench/load bench/traffic host link/netlab
bench/frames               -> bench/lab
bench/conns                -> bench/lab
integration                ->
properties                 ->
link/internal/waiter       ->
api                        -> control
ipvsabi/seccomp            -> ipvsabi api procnet
ipvsabi                    -> ipvsadm
host                       -> control link link/afpacket link/tun iproute
node/machine               -> node host notify track health/probe health/via
demo                       -> api host link/netlab
cmd/usvs                   -> link/staff conntrack/keeper bench/sim bench/table bench/engine bench/flame bench/frames bench/conns api host demo link/pcap link/afxdp ipvsadm/resolve explain netsim/fuzz scenario scenario/netns link/netlab netsim/show oracle ipvsabi/seccomp keepalived plan chaos node/machine
internal/house             ->
internal/testrun           ->
internal/browser           ->
internal/fuzzall           ->
internal/mutants           ->
differential               -> oracle differential/stage
differential/stage         -> link/netlab
differential/uml           ->
internal/differential      -> differential differential/uml
`

// thirdParty: who may import a module from outside. Test files may import any.
const thirdParty = `
golang.org/x/sys                    notify track health/probe bench bench/load bench/lab bench/traffic differential/stage differential/uml link/afpacket link/afxdp link/steer link/wrap link/tun link/internal/waiter link/internal/netns link/netnstest link/netlab scenario/netns host api demo ipvsabi/seccomp
golang.org/x/net                    health/dialog link/afpacket link/steer host ipvsabi/seccomp
github.com/vishvananda/netlink      bench/lab link/tun link/afpacket link/netnstest link/netlab scenario/netns host demo
github.com/google/nftables          host
github.com/google/pprof             bench/flame
github.com/mdlayher/packet          link/afpacket
github.com/mdlayher/netlink         host
github.com/songgao/water            link/tun
github.com/cilium/ebpf              bench/lab link/afxdp link/steer link/wrap
github.com/google/gopacket          link/pcap
github.com/spf13/cobra              cmd/usvs
github.com/coreos/go-systemd/v22    cmd/usvs
`

// core packages compile for machines usvs does not run on, and know no I/O.
var core = strings.Fields(`
clock
wire
route
trie
iproute
ipvs
arp
health
health/dialog
marks
localstack
dissect
sched
sched/model
app
link/staff
link/vnet
conntrack
connsync
forward
director
ipvsadm
ipvsabi
sysctl
procnet
keepalived
keepalived/wanted
node
vrrp
control
explain
plan
oracle/shell
link
netsim/tcp
health/path
`)

// simulated packages compile for the same machines, a browser among them.
var simulated = []string{"netsim", "netsim/netconn", "netsim/http"}

// impure is what the core must not import: clocks, sockets, files, processes
// and logs come in from outside.
var impure = []string{"net", "net/http", "os", "os/exec", "syscall", "log"}

type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
	Dir          string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	// Without the profile: packages that are compiled by it have other names.
	cmd := exec.Command("go", "list", "-pgo=off", "-json=ImportPath,Imports,TestImports,XTestImports,GoFiles,Dir", "./...")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOOS=linux")
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		require.NoError(t, dec.Decode(&p))
		for i, imp := range p.Imports { // built for a main package with a profile: PATH [MAIN]
			p.Imports[i], _, _ = strings.Cut(imp, " ")
		}
		all = append(all, p)
	}
	return all
}

// allowed expands the rules: what a package's targets may use it may use too.
func allowed(t *testing.T) map[string][]string {
	t.Helper()
	direct := map[string][]string{}
	for line := range strings.Lines(rules) {
		name, targets, ok := strings.Cut(line, "->")
		if ok {
			direct[strings.TrimSpace(name)] = strings.Fields(targets)
		}
	}
	closure := map[string][]string{}
	var expand func(name string) []string
	expand = func(name string) []string {
		if c, ok := closure[name]; ok {
			return c
		}
		var c []string
		for _, d := range direct[name] {
			_, known := direct[d]
			require.True(t, known, "rules name %q, which has no rule of its own", d)
			c = append(append(c, d), expand(d)...)
		}
		closure[name] = c
		return c
	}
	for name := range direct {
		expand(name)
	}
	return closure
}

func TestImportsPointDown(t *testing.T) {
	may := allowed(t)
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "usvs/")
		_, known := may[name]
		if !known {
			t.Errorf("package %s has no rule: add one to internal/house", name)
			continue
		}
		for _, imp := range p.Imports {
			if mine, ok := strings.CutPrefix(imp, "usvs/"); ok && !slices.Contains(may[name], mine) {
				t.Errorf("%s imports %s: not allowed by the rules", name, mine)
			}
		}
	}
}

func TestThirdPartyImports(t *testing.T) {
	users := map[string][]string{}
	for line := range strings.Lines(thirdParty) {
		if f := strings.Fields(line); len(f) > 1 {
			users[f[0]] = f[1:]
		}
	}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "usvs/")
		for _, imp := range p.Imports {
			if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
				continue
			}
			ok := slices.ContainsFunc(users[module(users, imp)], func(u string) bool { return u == name })
			if !ok {
				t.Errorf("%s imports %s: not among the users of that module", name, imp)
			}
		}
	}
}

func module(users map[string][]string, imp string) string {
	for m := range users {
		if imp == m || strings.HasPrefix(imp, m+"/") {
			return m
		}
	}
	return ""
}

func TestCoreIsPure(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "usvs/")
		if !slices.Contains(core, name) {
			continue
		}
		for _, imp := range p.Imports {
			if slices.Contains(impure, imp) || imp == "log/slog" && name != "control" && name != "link" {
				t.Errorf("%s imports %s: the core does no I/O", name, imp)
			}
		}
	}
}

func TestUnsafeOnlyInItsFiles(t *testing.T) {
	for _, p := range packages(t) {
		for _, file := range p.GoFiles {
			src, err := os.ReadFile(p.Dir + "/" + file)
			require.NoError(t, err)
			if strings.Contains(string(src), "\"unsafe\"") && !strings.Contains(file, "_unsafe") {
				t.Errorf("%s/%s imports unsafe: such files end in _unsafe.go", p.ImportPath, file)
			}
			require.NotContains(t, string(src), "import \"C\"", file)
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	for _, p := range packages(t) {
		for _, file := range p.GoFiles {
			src, err := os.ReadFile(p.Dir + "/" + file)
			require.NoError(t, err)
			if n := strings.Count(string(src), "\n"); n > 800 {
				t.Errorf("%s/%s has %d lines; split it before it reaches 800", p.ImportPath, file, n)
			}
		}
	}
}

func TestCoreBuildsEverywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("cross-compiling takes a while")
	}
	for _, target := range []string{"linux/amd64", "linux/arm64", "darwin/arm64", "js/wasm"} {
		t.Run(strings.ReplaceAll(target, "/", "-"), func(t *testing.T) {
			t.Parallel()
			goos, goarch, _ := strings.Cut(target, "/")
			args := []string{"build"}
			for _, name := range append(slices.Clone(core), simulated...) {
				args = append(args, "./"+name)
			}
			cmd := exec.Command("go", args...)
			cmd.Dir = "../.."
			cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
		})
	}
}
