package faults

import (
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

type kill struct{ onNode }

// Kill ends a process by SIGKILL, and starts it again on the same addresses when healed.
func Kill(process string) harness.Fault { return kill{onNode{process}} }

func (kill) Name() string { return "kill" }

func (f kill) Prepare(env *harness.Env) harness.Injection {
	return newExit(env, killed, []stack.Node{env.Node(f.node)}, "killed")
}
