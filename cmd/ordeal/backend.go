package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ordeal-chaos/ordeal/harness"
	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// Names of backends, as --backend takes them.
const (
	embedded   = "embedded"
	containers = "containers"
	auto       = "auto"
)

// backends are what a run can be carried out on.
var backends = []struct{ name, about string }{
	{embedded, "a Kafka-protocol broker and Postgres as child processes: needs no container engine; all brokers are one process"},
	{containers, "Apache Kafka, one broker or three, and Postgres in containers: needs a container engine (see ordeal doctor)"},
	{auto, "containers where a container engine answers, else embedded; the run says which, and why"},
}

// backendSetting is one setting of the backend: a flag, and the environment variable that it wins over.
type backendSetting struct {
	flag, env string
	usual     string                // where neither is given; "" cannot be given
	of        func(runFlags) string // its value
	values    []cobra.Completion    // to choose from
}

var backendSettings = []backendSetting{
	{"backend", stack.BackendEnv, embedded, func(f runFlags) string { return f.choice.Backend }, backendNames()},
	{"brokers", harness.BrokersEnv, "1", func(f runFlags) string { return strconv.Itoa(f.brokers) }, []cobra.Completion{"1", "3"}},
	{"kafka-profile", stack.KafkaProfileEnv, "fast", func(f runFlags) string { return f.choice.KafkaProfile }, []cobra.Completion{"fast", "default"}},
	{"kafka-image", stack.KafkaImageEnv, "", func(f runFlags) string { return f.choice.KafkaImage }, nil},
	{"postgres-image", stack.PostgresImageEnv, "", func(f runFlags) string { return f.choice.PostgresImage }, nil},
	{"services", stack.ServicesEnv, "process", func(f runFlags) string { return f.choice.Services }, []cobra.Completion{"process", "container"}},
}

// onlyContainers says that the setting means nothing on the embedded backend.
func (s backendSetting) onlyContainers() bool { return s.flag != "backend" && s.flag != "brokers" }

func backendNames() []cobra.Completion {
	var names []cobra.Completion
	for _, b := range backends {
		names = append(names, cobra.CompletionWithDesc(b.name, b.about))
	}
	return names
}

// environmentHelp is what the help of a command with these flags says about the environment.
const environmentHelp = `The settings of the backend may come from the environment too: ORDEAL_BACKEND, ORDEAL_BROKERS,
ORDEAL_KAFKA_PROFILE, ORDEAL_KAFKA_IMAGE, ORDEAL_POSTGRES_IMAGE, ORDEAL_SERVICES. A flag wins.`

// defineBackend defines the flags that choose what to run on. They begin with what the environment says.
func (flags *runFlags) defineBackend(f *pflag.FlagSet) {
	flags.choice, _ = stack.ChoiceFromEnv() // settleBackend says what is wrong, once the flags are known
	c := &flags.choice
	f.StringVar(&c.Backend, "backend", c.Backend, "`NAME` of what to run on: embedded, containers or auto (see ordeal list)")
	f.IntVar(&flags.brokers, "brokers", 1, "`N` Kafka brokers, 1 or 3")
	f.StringVar(&c.KafkaProfile, "kafka-profile", c.KafkaProfile, "`NAME` of Kafka's failover timings in containers: fast, or default for its own")
	f.StringVar(&c.KafkaImage, "kafka-image", c.KafkaImage, "`IMAGE` of Kafka in containers (default apache/kafka, else that of make images)")
	f.StringVar(&c.PostgresImage, "postgres-image", c.PostgresImage, "`IMAGE` of Postgres in containers (default postgres, else that of make images)")
	f.StringVar(&c.Services, "services", c.Services, "run each service as a `KIND`: process or, beside containers, container")
}

// completeBackend offers the values of these flags.
func completeBackend(command *cobra.Command) {
	for _, s := range backendSettings {
		complete := cobra.FixedCompletions(s.values, cobra.ShellCompDirectiveNoFileComp)
		if err := command.RegisterFlagCompletionFunc(s.flag, complete); err != nil {
			panic(err) // the flag is not defined above
		}
	}
}

// settleBackend refuses what cannot be, before anything starts.
func (flags *runFlags) settleBackend(f *pflag.FlagSet) error {
	if !f.Changed("brokers") {
		var err error
		if flags.brokers, err = harness.BrokersFromEnv(); err != nil {
			return err
		}
	}
	if flags.brokers != 1 && flags.brokers != 3 {
		return fmt.Errorf("%w: --brokers %d: there can be 1 or 3 brokers", harness.ErrUsage, flags.brokers)
	}
	if err := flags.choice.Validate(); err != nil {
		return fmt.Errorf("%w: %w%s", harness.ErrUsage, err, fromEnvironment(f))
	}
	for _, s := range backendSettings {
		if s.onlyContainers() && f.Changed(s.flag) && flags.choice.Backend == embedded && s.of(*flags) != s.usual {
			return fmt.Errorf("%w: --%s %s means nothing on the embedded backend: add --backend containers",
				harness.ErrUsage, s.flag, s.of(*flags))
		}
	}
	return nil
}

// fromEnvironment names the settings that no flag made, for an error about them.
func fromEnvironment(f *pflag.FlagSet) string {
	var set []string
	for _, s := range backendSettings {
		if value := os.Getenv(s.env); value != "" && !f.Changed(s.flag) {
			set = append(set, s.env+"="+value)
		}
	}
	if len(set) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s is set)", strings.Join(set, ", "))
}

// backendWords are the flags that choose the same backend again, in the same environment too.
func (flags runFlags) backendWords() []string {
	var words []string
	for _, s := range backendSettings {
		value := s.of(flags)
		if value == "" || flags.choice.Backend == embedded && s.onlyContainers() {
			continue
		}
		if value != s.usual || os.Getenv(s.env) != "" {
			words = append(words, "--"+s.flag, bare(value))
		}
	}
	return words
}

// capabilities are those of a backend that is not open yet.
func capabilities(backend string) stack.Capabilities {
	return stack.Capabilities{BrokersApart: backend == containers}
}

// usualParallel is how many scenarios run at a time where the user does not say. They mostly wait for
// timers, but a broker in a container is a JVM: there, a CPU for each.
func usualParallel(backend string, brokers int) int {
	if backend == embedded {
		return 2 * runtime.NumCPU()
	}
	return max(1, runtime.NumCPU()/brokers)
}
