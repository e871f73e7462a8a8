package faults

import (
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

type terminate struct{ onNode }

// Terminate asks a process to end (SIGTERM), as a deployment does, and starts it again when healed.
func Terminate(process string) harness.Fault { return terminate{onNode{process}} }

func (terminate) Name() string { return "terminate" }

func (f terminate) Prepare(env *harness.Env) harness.Injection {
	return newExit(env, terminated, []stack.Node{env.Node(f.node)}, "")
}
