package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	ordeal "github.com/ordeal-chaos/ordeal"
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
	"github.com/ordeal-chaos/ordeal/services"
)

// A mistake on the command line is answered at once with what was probably meant; nothing is started.
func TestUsageErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"scenario":              {[]string{"run", "redelivry"}, `no scenario "redelivry"; nearest: redelivery, `},
		"second scenario":       {[]string{"run", "calm", "clam"}, `no scenario "clam"; nearest: calm, `},
		"design":                {[]string{"run", "--design", "sond"}, `no design "sond": did you mean "sound"?`},
		"parts":                 {[]string{"run", "--design", "saga+choreography"}, `parts "saga" and "choreography" contradict each other`},
		"part":                  {[]string{"run", "--design", "saga+paymnt"}, `unknown part "paymnt": did you mean "payment"?`},
		"guard of another":      {[]string{"run", "--design", "after-commit", "--without", "horizon"}, `design after-commit has no guard "horizon" to remove; it has: `},
		"need of a scenario":    {[]string{"run", "last-units", "--design", "single-writer"}, `scenario "last-units" needs reservations, which design single-writer does not have`},
		"two lists":             {[]string{"list", "--designs", "--mutants"}, "--designs and --mutants are two lists: ask for one"},
		"list as JSON":          {[]string{"list", "--json"}, "--json goes with --designs or --mutants"},
		"mutant":                {[]string{"mutants", "B51", "--table", "table"}, `no mutant "B51"; nearest: B11, B1, B38`},
		"mutant, three brokers": {[]string{"mutants", "B38b", "--table", "table"}, `mutant B38b: scenario "isolated-leader" needs three separate brokers: run it with --backend containers --brokers 3`},
		"repeat of mutants":     {[]string{"mutants", "--repeat", "0"}, "--repeat 0: each bug must run at least once"},
		"parallel of mutants":   {[]string{"mutants", "--parallel", "0"}, "--parallel 0: at least one"},
		"table of mutants":      {[]string{"mutants", "--table", "/nowhere"}, "read --table: open /nowhere: no such file"},
		"entry of a table":      {[]string{"mutants", "--table", "bad"}, `mutant B1: no scenario "clam"; nearest: calm, `},
		"baseline of mutants":   {[]string{"mutants", "--table", "table", "--baseline", "bad"}, "read baseline of mutants: "},
		"no baseline":           {[]string{"mutants", "--table", "table", "--baseline", "/nowhere"}, "read --baseline: open /nowhere: no such file"},
		"mutants, backend":      {[]string{"mutants", "--backend", "embed"}, `backend "embed"; there are embedded, containers, auto`},
		"guard":                 {[]string{"run", "--without", "inbox"}, `unknown guard "inbox": did you mean "inbox-dedup"?`},
		"second guard":          {[]string{"run", "--without", "outbox,sweper"}, `did you mean "sweeper"?`},
		"contradiction":         {[]string{"run", "--without", "outbox,after-commit-outbox"}, `guards "outbox" and "after-commit-outbox" contradict each other`},
		"fault":                 {[]string{"run", "--fault", "latncy:order->stock"}, `no fault "latncy"; nearest: latency, `},
		"fault without target":  {[]string{"run", "--fault", "down"}, "needs a target: down:<link>"},
		"link of a fault":       {[]string{"run", "calm", "--fault", "down:client->stok"}, `no link "client->stok" here; nearest: client->stock, `},
		"process of a fault":    {[]string{"run", "calm", "--fault", "kill:stok"}, `no process "stok" here; nearest: stock, `},
		"fault cut by a shell":  {[]string{"run", "calm", "--fault", "latency:order-"}, "ends in a dash: quote it, the shell takes > as a redirection"},
		"backend":               {[]string{"run", "--backend", "embed"}, `backend "embed"; there are embedded, containers, auto`},
		"brokers":               {[]string{"run", "--brokers", "2"}, "--brokers 2: there can be 1 or 3 brokers"},
		"brokers in words":      {[]string{"run", "--brokers", "two"}, "--brokers two: not a whole number (see"},
		"kafka profile":         {[]string{"run", "--backend", "auto", "--kafka-profile", "slow"}, `Kafka profile "slow"; there are default, fast`},
		"services":              {[]string{"run", "--backend", "auto", "--services", "pod"}, `services "pod"; there are process, container`},
		"services on embedded":  {[]string{"run", "--services", "container"}, "services as containers need the backend containers"},
		"kafka image, embedded": {[]string{"run", "--kafka-image", "k"}, "--kafka-image k means nothing on the embedded backend: add --backend containers"},
		"postgres image":        {[]string{"run", "--postgres-image", "p", "--backend", "embedded"}, "--postgres-image p means nothing on the embedded backend"},
		"profile on embedded":   {[]string{"run", "--kafka-profile", "default"}, "--kafka-profile default means nothing on the embedded backend"},
		"three brokers":         {[]string{"run", "calm", "leader-loss"}, `scenario "leader-loss" needs three separate brokers: run it with --backend containers --brokers 3`},
		"brokers not apart":     {[]string{"run", "leader-loss", "--brokers", "3"}, "needs three separate brokers"},
		"one container":         {[]string{"run", "leader-loss", "--backend", "containers"}, "needs three separate brokers"},
		"fault for three":       {[]string{"run", "calm", "--fault", "leader-kill:order-events/0"}, "needs three separate brokers: run it with"},
		"flag":                  {[]string{"run", "--paralle", "3"}, "unknown flag: --paralle; nearest: --parallel, "},
		"short flag":            {[]string{"run", "-x"}, "unknown shorthand flag: 'x'"},
		"flag without value":    {[]string{"run", "--seed"}, "flag needs an argument: --seed (see ordeal run --help)"},
		"number":                {[]string{"run", "--seed", "abc"}, "usage: --seed abc: not a whole number (see ordeal run --help)"},
		"negative seed":         {[]string{"run", "--seed", "-1"}, "--seed -1: not a whole number (see"},
		"large seed":            {[]string{"run", "--seed", "99999999999999999999"}, "--seed 99999999999999999999: too large (see"},
		"parallel of nothing":   {[]string{"run", "--parallel", "two"}, "--parallel two: not a whole number (see"},
		"negative parallel":     {[]string{"run", "--parallel", "-1"}, "--parallel -1: at least one"},
		"no parallel":           {[]string{"run", "--parallel", "0"}, "--parallel 0: at least one"},
		"command":               {[]string{"rnu"}, `no command "rnu"; nearest: run, `},
		"help about nothing":    {[]string{"help", "lst"}, `no command "lst"; nearest: list, `},
		"argument of list":      {[]string{"list", "guards"}, `list takes no arguments, not "guards"`},
		"argument of doctor":    {[]string{"doctor", "all"}, `doctor takes no arguments, not "all"`},
		"shell":                 {[]string{"completion", "bsh"}, `no command "bsh"; nearest: bash, `},
		"argument of a shell":   {[]string{"completion", "bash", "x"}, `unknown command "x"`},
		"check without folder":  {[]string{"check"}, "check takes one run folder"},
		"check of two folders":  {[]string{"check", "a", "b"}, "check takes one run folder"},
		"check of nothing":      {[]string{"check", "/nowhere"}, "no history in /nowhere; name a run folder"},
		"check, then nonsense":  {[]string{"check", "a", "--jsn"}, "unknown flag: --jsn; nearest: --json"},
		"flag of another":       {[]string{"list", "--seed", "1"}, "unknown flag: --seed"},
		"scenario and bad flag": {[]string{"run", "calm", "--keep=maybe"}, "--keep maybe: neither true nor false (see"},
	}
	s := newSite(t)
	s.env = []string{"DOCKER_HOST=unix://" + s.tmp + "/none.sock"}
	s.write(t, "table", killable+stale+leftOut)
	s.write(t, "bad", strings.Replace(stale, "calm", "clam", 1))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			args := test.args
			if args[0] == "run" || args[0] == "mutants" {
				args = append([]string{args[0], "--out", s.out}, args[1:]...)
			}
			run := s.run(t, args...)
			run.requireCode(t, exitUsage)
			require.Less(t, time.Since(began), 2*time.Second)
			require.Empty(t, run.stdout.String())
			require.True(t, strings.HasPrefix(run.stderr.String(), "ordeal: usage: "), run.stderr.String())
			require.Contains(t, run.stderr.String(), test.want)
			require.NoDirExists(t, s.out)
			s.requireNothingLeft(t, time.Millisecond)
		})
	}
}

// The environment chooses as the flags do, a flag wins, and an error says where a setting comes from.
func TestBackendFromTheEnvironment(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		env, args []string
		code      int
		want      string
	}{
		"backend":       {[]string{"ORDEAL_BACKEND=docker"}, nil, exitUsage, `backend "docker"; there are embedded, containers, auto (ORDEAL_BACKEND=docker is set)`},
		"brokers":       {[]string{"ORDEAL_BROKERS=2"}, nil, exitUsage, `ORDEAL_BROKERS="2": there can be 1 or 3 brokers`},
		"words":         {[]string{"ORDEAL_BROKERS=two"}, nil, exitUsage, `ORDEAL_BROKERS="two": there can be 1 or 3 brokers`},
		"services":      {[]string{"ORDEAL_SERVICES=container"}, nil, exitUsage, "need the backend containers (ORDEAL_SERVICES=container is set)"},
		"chosen":        {[]string{"ORDEAL_BACKEND=containers"}, nil, exitHarness, "reach container engine"},
		"brokers kept":  {[]string{"ORDEAL_BACKEND=containers", "ORDEAL_BROKERS=3"}, []string{"leader-loss"}, exitHarness, "reach container engine"},
		"flag, brokers": {[]string{"ORDEAL_BACKEND=containers", "ORDEAL_BROKERS=3"}, []string{"leader-loss", "--brokers", "1"}, exitUsage, "needs three separate brokers"},
		"flag, backend": {[]string{"ORDEAL_BACKEND=docker", "ORDEAL_SERVICES=container"}, []string{"--backend", "containers"}, exitHarness, "reach container engine"},
		"images do not matter on embedded": {
			[]string{"ORDEAL_KAFKA_IMAGE=mine", "ORDEAL_KAFKA_PROFILE=default"}, []string{"leader-loss"}, exitUsage, "needs three separate brokers",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.env = append(test.env, "DOCKER_HOST=unix://"+s.tmp+"/none.sock")
			run := s.run(t, append([]string{"run", "--out", s.out}, test.args...)...)
			run.requireCode(t, test.code)
			require.Contains(t, run.stderr.String(), test.want)
		})
	}
}

func TestCheckOfAWholeReport(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"calm", "resets"} {
		require.NoError(t, os.MkdirAll(filepath.Join(s.out, name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(s.out, name, historyFile), nil, 0o644))
	}
	run := s.run(t, "check", s.out)
	run.requireCode(t, exitUsage)
	require.Contains(t, run.stderr.String(), "name one: "+filepath.Join(s.out, "calm")+", "+filepath.Join(s.out, "resets"))
}

// What the machine lacks is said before anything starts.
func TestHarnessErrors(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	base := filepath.Dir(s.tmp)
	file := filepath.Join(base, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	empty := filepath.Join(base, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))

	t.Run("--out below a file", func(t *testing.T) {
		run := s.run(t, "run", "calm", "--out", filepath.Join(file, "out"))
		run.requireCode(t, exitHarness)
		require.Contains(t, run.stderr.String(), "create report folder")
		require.Contains(t, run.stderr.String(), "choose another folder with --out")
	})
	t.Run("--out on a full disk", func(t *testing.T) {
		disk := filepath.Join(base, "disk")
		require.NoError(t, os.Mkdir(disk, 0o755))
		mountSmall(t, disk)
		run := s.run(t, "run", "calm", "--out", filepath.Join(disk, "out"))
		run.requireCode(t, exitHarness)
		require.Contains(t, run.stderr.String(), "1 MB of free space and a run needs 200 MB")
		require.Contains(t, run.stderr.String(), "with --out")
	})
	t.Run("no Postgres", func(t *testing.T) {
		s := s
		s.env = []string{stack.PostgresBinEnv + "=" + empty}
		run := s.run(t, "run", "calm", "--out", s.out)
		run.requireCode(t, exitHarness)
		require.Contains(t, run.stderr.String(), stack.PostgresBinEnv+"="+empty)
		require.Contains(t, run.stderr.String(), "ordeal doctor")
		require.NoDirExists(t, filepath.Join(s.out, "calm"))

		doctor := s.run(t, "doctor")
		doctor.requireCode(t, exitHarness)
		require.Regexp(t, `missing +postgres binaries +.*`+empty, doctor.stdout.String())
		require.Contains(t, doctor.stdout.String(), "→ install Postgres")
	})
}

// Every command explains itself with examples, and the examples are commands that exist.
func TestHelp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"help", "run"}, {"run", "--help"}, {"list", "-h"}, {"mutants", "--help"}, {"check", "--help"}, {"doctor", "--help"}} {
		run := s.run(t, args...)
		run.requireCode(t, exitPass)
		require.Contains(t, run.stdout.String(), "Usage:\n  ordeal")
		require.Contains(t, run.stdout.String(), "Examples:\n  ")
		require.Empty(t, run.stderr.String())
		for line := range strings.Lines(run.stdout.String()) {
			require.LessOrEqual(t, len([]rune(line)), 125, line)
		}
	}
	command := root()
	for _, child := range command.Commands() {
		if child.Name() == "help" || child.Name() == "completion" {
			continue
		}
		for line := range strings.Lines(child.Example) {
			require.Contains(t, line, "ordeal "+child.Name())
		}
		require.NotEmpty(t, child.Example, child.Name())
	}
	help := s.run(t, "help", "run").stdout.String()
	require.Contains(t, help, "two for each CPU")
	for _, b := range backendSettings {
		require.Contains(t, help, "--"+b.flag+" ")
		require.Contains(t, help, b.env)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	list := s.run(t, "list")
	list.requireCode(t, exitPass)
	for _, want := range []string{
		`(?m)^SCENARIOS`, `(?m)^  calm  +\S`, `(?m)^DESIGNS`, `(?m)^  tcc-rest  +\S`, `(?m)^GUARDS OF EVERY DESIGN`,
		`(?m)^GUARDS OF SOME DESIGNS, BY THEIR STOCK .*\n(  \S.*\n)*  version-check  +version-column: \S`, `(?m)^  inbox-dedup  +\S`, `(?m)^FAULTS`,
		`(?m)^SCENARIOS THAT NEED THREE BROKERS \(ordeal run NAME --backend containers --brokers 3\)\n(  \S.*\n)*  leader-loss  +\S`,
		`(?m)^BACKENDS`, `(?m)^  containers  +\S`, `(?m)^  auto  +\S`, `(?m)^  acks-all  +.*Shown by isolated-leader\.$`,
		`(?m)^  latency:LINK  +\S`, `(?m)^  broker-outage  +\S`, `(?m)^GUARANTEES`,
		`(?m)^FAULTS THAT NEED THREE BROKERS.*\n(  \S.*\n)*  leader-kill:PARTITION  +\S`, `(?m)^  effects-at-most-once  +I7  +\S`,
	} {
		require.Regexp(t, want, list.stdout.String())
	}
	before, _, _ := strings.Cut(list.stdout.String(), "SCENARIOS THAT NEED")
	require.NotContains(t, before, "leader-loss")
	for _, guard := range services.Guards() {
		require.Regexp(t, `(?m)^  `+guard.Name+`  +\S`, list.stdout.String())
	}

	designs := s.run(t, "list", "--designs")
	designs.requireCode(t, exitPass)
	for _, want := range []string{
		`(?m)^sound\n  about +\S`, `(?m)^timeout-compensation-sweeper$`, `(?m)^  parts +kafka-transaction; else those of sound$`,
		`(?m)^  lacks +sweeper$`, `(?m)^  guards +inbox-dedup, `, `(?m)^coordination\n  choreography  +\S`, `(?m)^  promises +every guarantee$`,
	} {
		require.Regexp(t, want, designs.stdout.String())
	}
	var listed []listedDesign
	require.NoError(t, json.Unmarshal([]byte(s.run(t, "list", "--designs", "--json").stdout.String()), &listed))
	require.Equal(t, "sound", listed[0].Name)
	require.Len(t, listed, len(services.Designs()))

	mutants := s.run(t, "list", "--mutants")
	mutants.requireCode(t, exitPass)
	require.Regexp(t, `(?m)^B11 +sound +inbox-dedup +redelivery +double-effect +\S`, mutants.stdout.String())
	var table []ordeal.Mutant
	require.NoError(t, json.Unmarshal([]byte(s.run(t, "list", "--mutants", "--json").stdout.String()), &table))
	require.GreaterOrEqual(t, len(table), ordeal.Bugs)
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	doctor := s.run(t, "doctor")
	doctor.requireCode(t, exitPass)
	require.Regexp(t, `(?m)^ok +postgres binaries  +Postgres \d+`, doctor.stdout.String())

	var table strings.Builder
	missing, err := examine(&table, []stack.Finding{
		{Name: "cake", OK: true, Detail: "one"}, {Name: "engine", Optional: true, Detail: "none", Fix: "nothing"},
	})
	require.NoError(t, err)
	require.False(t, missing, "what is optional may be absent")
	missing, err = examine(&table, []stack.Finding{{Name: "cake", Detail: "looked here\nand there", Fix: "bake one"}})
	require.NoError(t, err)
	require.True(t, missing)
	require.Equal(t, "ok      cake    one\nabsent  engine  none\n                → nothing\n"+
		"missing  cake  looked here\n               and there\n               → bake one\n", table.String())
}

func TestCompletion(t *testing.T) {
	command := root()
	run, _, err := command.Find([]string{"run"})
	require.NoError(t, err)
	names := func(offers []cobra.Completion) string {
		for i, offer := range offers {
			offers[i], _, _ = strings.Cut(offer, "\t")
		}
		return strings.Join(offers, " ")
	}
	scenarios, _ := run.ValidArgsFunction(run, []string{"redelivery"}, "")
	require.Contains(t, names(scenarios), "calm ")
	require.NotContains(t, names(scenarios), "redelivery", "it is chosen already")

	complete, ok := run.GetFlagCompletionFunc("without")
	require.True(t, ok)
	guards, _ := complete(run, nil, "sweeper,inb")
	require.Contains(t, names(guards), "sweeper,inbox-dedup")
	require.NotContains(t, names(guards), "sweeper,sweeper")

	for flag, want := range map[string]string{
		"backend": "embedded containers auto", "brokers": "1 3", "kafka-profile": "fast default", "services": "process container",
	} {
		complete, ok = run.GetFlagCompletionFunc(flag)
		require.True(t, ok, flag)
		values, directive := complete(run, nil, "")
		require.Equal(t, want, names(values))
		require.Equal(t, cobra.ShellCompDirectiveNoFileComp, directive)
	}

	complete, ok = run.GetFlagCompletionFunc("fault")
	require.True(t, ok)
	kinds, directive := complete(run, nil, "")
	require.Contains(t, names(kinds), "latency:")
	require.NotZero(t, directive&cobra.ShellCompDirectiveNoSpace, "a target follows")
}

func TestRepeatIsSafeToPaste(t *testing.T) {
	for _, s := range backendSettings {
		t.Setenv(s.env, "")
	}
	flags := runFlags{
		design: "sound", without: []string{"outbox", "sweeper"}, faults: []string{"down:order->stock", "row-lock:it's"}, seed: 7,
		choice: stack.Choice{Backend: embedded, KafkaImage: "mine", Services: "container"}, brokers: 1,
	}
	require.Equal(t, bare(os.Args[0])+` run calm resets --without outbox,sweeper --fault 'down:order->stock' --fault 'row-lock:it'\''s' --seed 7`,
		repeat(flags, "calm", "resets"))
	flags = runFlags{design: "sound", seed: 7, brokers: 3, choice: stack.Choice{
		Backend: containers, KafkaProfile: "default", KafkaImage: "here/kafka:1", PostgresImage: "it's", Services: "container",
	}}
	require.Equal(t, bare(os.Args[0])+` run --backend containers --brokers 3 --kafka-profile default --kafka-image here/kafka:1`+
		` --postgres-image 'it'\''s' --services container --seed 7`, repeat(flags))
	flags.choice = stack.Choice{Backend: containers, KafkaProfile: "fast", Services: "process"}
	flags.brokers = 1
	require.Equal(t, bare(os.Args[0])+" run --backend containers --seed 7", repeat(flags))
	for word, want := range map[string]string{
		"bin/ordeal": "bin/ordeal", "/opt/my tools/ordeal": "'/opt/my tools/ordeal'", "$(x)": "'$(x)'", "it's": `'it'\''s'`, "": "''",
	} {
		require.Equal(t, want, bare(word))
	}
}

// Where the environment chooses a backend, the command that repeats a run on another one must say so.
func TestRepeatInAnotherEnvironment(t *testing.T) {
	for _, s := range backendSettings {
		t.Setenv(s.env, "")
	}
	t.Setenv(stack.BackendEnv, containers)
	t.Setenv(harness.BrokersEnv, "3")
	t.Setenv(stack.KafkaProfileEnv, "default")
	flags := runFlags{design: "sound", seed: 7, brokers: 1, choice: stack.Choice{Backend: embedded, KafkaProfile: "default"}}
	require.Equal(t, bare(os.Args[0])+" run --backend embedded --brokers 1 --seed 7", repeat(flags))
}

func TestVersion(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	run := s.run(t, "--version")
	run.requireCode(t, exitPass)
	require.Regexp(t, `^ordeal version \S`, run.stdout.String())

	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	built := &debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}, Settings: []debug.BuildSetting{
		setting("vcs", "git"), setting("vcs.modified", "true"), setting("vcs.revision", "0123456789abcdef"),
	}}
	require.Equal(t, "v0.1.0, revision 0123456789ab, modified", version(built, true))
	built.Settings[1].Value = "false"
	require.Equal(t, "v0.1.0, revision 0123456789ab", version(built, true))
	require.Equal(t, "(devel)", version(&debug.BuildInfo{}, true))
	require.Equal(t, "(devel)", version(nil, false))
}
