package stack

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// ProgramEnv names the environment variable that makes a re-executed binary run a program of its own
// instead of its usual main function.
const ProgramEnv = "ORDEAL_PROGRAM"

// Programs that every binary with [Dispatch] can run.
const (
	brokerProgram = "ordeal-broker"
	redisProgram  = "ordeal-redis"
	reaperProgram = "ordeal-reaper"
	fetchProgram  = "ordeal-fetch-postgres"
)

// Program is a main function that the binary can be re-executed as.
type Program struct {
	Name string
	// Main returns the exit code. Its context ends at SIGTERM or SIGINT.
	Main func(context.Context) int
}

// Dispatch must be the first call of main or TestMain: in a re-executed child it runs the program
// that [ProgramEnv] names, one of extra or of this package's own, and exits the process. Otherwise it
// returns at once.
func Dispatch(extra ...Program) {
	dispatched = true
	name, set := os.LookupEnv(ProgramEnv)
	if !set {
		return
	}
	// The program's own children must not be taken for programs.
	_ = os.Unsetenv(ProgramEnv)
	for _, p := range append(extra, builtin...) {
		if p.Name == name {
			os.Exit(runProgram(p))
		}
	}
	fmt.Fprintf(os.Stderr, "ordeal: this binary has no program %q\n", name)
	os.Exit(exitUsage)
}

const exitUsage = 64

// dispatched guards against a binary that would re-execute itself as itself, for ever.
var dispatched bool

var builtin = []Program{
	{brokerProgram, brokerMain},
	{redisProgram, redisMain},
	{reaperProgram, reaperMain},
	{fetchProgram, fetchMain},
}

func runProgram(p Program) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return p.Main(ctx)
}

// programCommand returns the command and the environment that re-execute this binary as a program.
func programCommand(name string) (command, env []string, err error) {
	if !dispatched {
		return nil, nil, fmt.Errorf("run program %s: stack.Dispatch was not called first in main or TestMain", name)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("run program %s: %w", name, err)
	}
	return []string{self}, []string{ProgramEnv + "=" + name}, nil
}

// environ returns this process's environment with the changes applied; the last setting of a name wins.
// The names of this package's own protocol are never inherited.
func environ(changes ...string) []string {
	env := make([]string, 0, len(os.Environ())+len(changes))
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if name != ProgramEnv && name != guardEnv {
			env = append(env, kv)
		}
	}
	return append(env, changes...)
}
