package harness

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// stackSettings are the variables that say what to run on.
var stackSettings = []string{
	stack.BackendEnv, BrokersEnv, stack.KafkaImageEnv, stack.PostgresImageEnv, stack.KafkaProfileEnv, stack.ServicesEnv,
}

// TestRepeatRunsOnTheSameStack: the command names what is in force, as a shell reads it.
func TestRepeatRunsOnTheSameStack(t *testing.T) {
	set := func(t *testing.T, values map[string]string) {
		for _, name := range stackSettings {
			t.Setenv(name, values[name])
		}
	}
	t.Run("nothing set", func(t *testing.T) {
		set(t, nil)
		assert.Equal(t, "ORDEAL_SEED=7", settingsInForce("embedded", 7))
	})
	t.Run("what was chosen automatically", func(t *testing.T) {
		set(t, map[string]string{stack.BackendEnv: "auto"})
		assert.Equal(t, "ORDEAL_SEED=7 ORDEAL_BACKEND=containers", settingsInForce("containers", 7))
	})
	t.Run("all set", func(t *testing.T) {
		values := map[string]string{
			stack.BackendEnv: "containers", BrokersEnv: "3", stack.KafkaImageEnv: "registry:5000/apache/kafka@sha256:12",
			stack.PostgresImageEnv: "it's; odd", stack.KafkaProfileEnv: "default", stack.ServicesEnv: "container",
		}
		set(t, values)
		words := settingsInForce("containers", 7)
		set(t, nil)
		for name, value := range values {
			printed, err := exec.CommandContext(t.Context(), "sh", "-c", words+" sh -c 'printf %s \"$"+name+"\"'").Output()
			require.NoError(t, err)
			assert.Equal(t, value, string(printed), "%s in %s", name, words)
		}
	})
}

func TestWrongSettingsAreMistakesOfTheCaller(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{BrokersEnv, "2", `ORDEAL_BROKERS="2": there can be 1 or 3 brokers`},
		{BrokersEnv, "three", "there can be 1 or 3 brokers"},
		{stack.BackendEnv, "containerz", "containerz"},
		{stack.ServicesEnv, "container", "need the backend containers"},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			for _, name := range stackSettings {
				t.Setenv(name, "")
			}
			t.Setenv(test.name, test.value)
			_, _, err := stackFromEnv()
			require.ErrorIs(t, err, ErrUsage)
			assert.ErrorContains(t, err, test.want)
		})
	}
	t.Setenv(BrokersEnv, "3")
	brokers, err := BrokersFromEnv()
	require.NoError(t, err)
	assert.Equal(t, 3, brokers)
}
