package harness

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/ordeal-chaos/ordeal/harness/stack"
)

// Topology names all that a fault can be aimed at in a scenario.
type Topology struct {
	Links      []string            // "order->postgres"
	Nodes      []string            // processes: "stock-2", "postgres", "kafka-1"
	Replicas   map[string][]string // service → its replicas
	Topics     []string
	Partitions map[string]int32   // of each topic
	Databases  map[string]string  // database → node of its server
	Services   map[string]Service // by name
	Brokers    []string           // those of Nodes that are Kafka brokers
	// BrokersApart says that a fault can hit one of several brokers alone.
	BrokersApart bool
}

// Match returns the links that pattern names; * stands for any characters: "stock-*->postgres".
func (t Topology) Match(pattern string) []string {
	var found []string
	for _, name := range t.Links {
		// Link names hold no slash, so that path.Match's * reaches over all of them.
		if ok, err := path.Match(pattern, name); err == nil && ok {
			found = append(found, name)
		}
	}
	return found
}

// CheckLink says whether pattern names a link; the error lists the nearest names.
func (t Topology) CheckLink(pattern string) error {
	if len(t.Match(pattern)) > 0 {
		return nil
	}
	return fmt.Errorf("no link %q here; nearest: %s", pattern, strings.Join(Nearest(pattern, t.Links, 4), ", "))
}

// CheckNode says whether name is a process that can be hit alone; the error lists the nearest names.
func (t Topology) CheckNode(name string) error {
	if slices.Contains(t.Brokers, name) {
		return t.CheckBroker(name)
	}
	if slices.Contains(t.Nodes, name) {
		return nil
	}
	return fmt.Errorf("no process %q here; nearest: %s", name, strings.Join(Nearest(name, t.Nodes, 4), ", "))
}

// CheckConsumer says whether name is a service that consumes topics.
func (t Topology) CheckConsumer(name string) error {
	if service, ok := t.Services[name]; ok && service.Group != "" {
		return nil
	}
	return fmt.Errorf("no service %q with a consumer group here; services: %s", name, strings.Join(slices.Sorted(maps.Keys(t.Services)), ", "))
}

// CheckDatabase says whether name is a database.
func (t Topology) CheckDatabase(name string) error {
	if _, ok := t.Databases[name]; ok {
		return nil
	}
	return fmt.Errorf("no database %q here; databases: %s", name, strings.Join(slices.Sorted(maps.Keys(t.Databases)), ", "))
}

// CheckTopic says whether name is a topic.
func (t Topology) CheckTopic(name string) error {
	if slices.Contains(t.Topics, name) {
		return nil
	}
	return fmt.Errorf("no topic %q here; nearest: %s", name, strings.Join(Nearest(name, t.Topics, 4), ", "))
}

// CheckPartition says whether name is a partition of a topic, "order-events/0".
func (t Topology) CheckPartition(name string) error {
	topic, text, found := strings.Cut(name, "/")
	if err := t.CheckTopic(topic); err != nil {
		return err
	}
	number, err := strconv.ParseInt(text, 10, 32)
	if !found || err != nil || number < 0 || int32(number) >= t.Partitions[topic] {
		return fmt.Errorf("no partition %q here: %s has %s/0 to %s/%d", name, topic, topic, topic, t.Partitions[topic]-1)
	}
	return nil
}

// CheckKafka says whether there is a broker at all.
func (t Topology) CheckKafka() error {
	if len(t.Brokers) > 0 {
		return nil
	}
	return errors.New("no Kafka broker here: the system has no topics")
}

// CheckBroker says whether name is a broker that can be hit alone. An only one can be, on every backend.
func (t Topology) CheckBroker(name string) error {
	switch {
	case !slices.Contains(t.Brokers, name):
		return fmt.Errorf("no broker %q here; brokers: %s", name, cmp.Or(strings.Join(t.Brokers, ", "), "none"))
	case len(t.Brokers) > 1 && !t.BrokersApart:
		return fmt.Errorf("%s cannot be hit alone: on this backend all %d brokers share one process; run it with --backend containers",
			name, len(t.Brokers))
	}
	return nil
}

// CheckApart says whether there are three brokers, of which one can be hit alone while the others go on.
func (t Topology) CheckApart() error {
	if len(t.Brokers) >= 3 && t.BrokersApart {
		return nil
	}
	return errNeedsThree
}

var errNeedsThree = errors.New("needs three separate brokers: run it with --backend containers --brokers 3 (in go test: ORDEAL_BACKEND=containers ORDEAL_BROKERS=3)")

// topology is what the scenario consists of on so many brokers.
func (s Scenario) topology(on stack.Capabilities, brokers int) Topology {
	t := Topology{
		Replicas: map[string][]string{}, Databases: map[string]string{}, Services: map[string]Service{},
		Partitions: map[string]int32{}, Brokers: s.brokers(brokers), BrokersApart: on.BrokersApart,
	}
	for _, d := range s.System.Databases {
		server := "postgres"
		if s.SeparatePostgres {
			server = "postgres-" + d.Name
		}
		t.Databases[d.Name] = server
		if !slices.Contains(t.Nodes, server) {
			t.Nodes = append(t.Nodes, server)
		}
	}
	t.Nodes = append(t.Nodes, t.Brokers...)
	t.Nodes = append(t.Nodes, s.System.cacheNames()...)
	for _, service := range s.System.Services {
		t.Replicas[service.Name] = service.replicas()
		t.Nodes = append(t.Nodes, service.replicas()...)
	}
	for _, service := range s.System.Services {
		t.Services[service.Name] = service
		for _, replica := range service.replicas() {
			t.Links = append(t.Links, "client->"+replica)
			if service.Database != "" {
				t.Links = append(t.Links, replica+"->"+t.Databases[service.Database])
			}
			if service.Cache != "" {
				t.Links = append(t.Links, replica+"->"+service.Cache)
			}
			for _, broker := range t.Brokers {
				t.Links = append(t.Links, replica+"->"+broker)
			}
			for _, peer := range service.Calls {
				if names := t.Replicas[peer]; len(names) > 0 {
					t.Links = append(t.Links, replica+"->"+names[0])
				}
			}
		}
	}
	for _, topic := range s.System.Topics {
		t.Topics = append(t.Topics, topic.Name)
		t.Partitions[topic.Name] = topic.Partitions
	}
	return t
}

// brokers names the brokers, of which there are none where there are no topics.
func (s Scenario) brokers(n int) []string {
	var names []string
	for i := range n {
		if len(s.System.Topics) > 0 {
			names = append(names, fmt.Sprintf("kafka-%d", i+1))
		}
	}
	return names
}

func (s Service) replicas() []string {
	if s.Replicas <= 1 {
		return []string{s.Name}
	}
	names := make([]string, s.Replicas)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", s.Name, i+1)
	}
	return names
}

// Nearest returns up to most of the names, nearest to name first, for an error that helps.
func Nearest(name string, names []string, most int) []string {
	sorted := slices.Clone(names)
	sort.SliceStable(sorted, func(i, j int) bool { return distance(name, sorted[i]) < distance(name, sorted[j]) })
	return sorted[:min(most, len(sorted))]
}

// distance is the Levenshtein distance of two names, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
