package faults

import (
	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

type postgresCrash struct{ onNode }

// PostgresCrash ends a Postgres server by SIGKILL, its backends included, and starts it again when
// healed: it recovers from its write-ahead log.
func PostgresCrash(server string) harness.Fault { return postgresCrash{onNode{server}} }

func (postgresCrash) Name() string { return "postgres-crash" }

func (f postgresCrash) Prepare(env *harness.Env) harness.Injection {
	return newExit(env, killed, []stack.Node{env.Node(f.node)}, "killed")
}
