package stack

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// Ports of a broker: of clients, of the other brokers, of the controllers.
const (
	clientPort     = 9093
	brokerPort     = 9092
	controllerPort = 9094
)

// firstBroker is the number of the first broker's address in its networks.
const firstBroker = 11

// startTimeout is long: a machine that starts several JVMs has little else left.
const startTimeout = 2 * time.Minute

// serveTimeout bounds what brokers that run need for one environment more.
const serveTimeout = time.Minute

// cluster is a Kafka cluster of containers, with the network on which clients reach it. One environment at
// a time uses it. A cluster without brokers is that network alone.
type cluster struct {
	engine  *engine
	config  clusterConfig
	clients *network
	mesh    *network // of the brokers among themselves; nil unless there are several
	brokers []*container

	mu       sync.Mutex
	dial     dialFunc        // of the environment that uses it
	isolated map[string]bool // brokers that are not on the mesh
	started  bool            // all brokers were ready once
}

// clusterConfig is what the clusters of one backend have in common.
type clusterConfig struct {
	image   string
	profile string        // of kafkaProfiles
	turn    chan struct{} // holds a token while a cluster starts
}

// newCluster makes the networks of a cluster and describes its brokers, which start starts. direct makes
// them advertise their real addresses.
func (g *engine) newCluster(ctx context.Context, config clusterConfig, name string, brokers int, direct bool) (_ *cluster, err error) {
	c := &cluster{engine: g, config: config, isolated: map[string]bool{}, dial: plainDial}
	defer func() {
		if err != nil {
			cleanup, cancel := context.WithTimeout(context.Background(), closeTimeout)
			defer cancel()
			_ = c.remove(cleanup) // what stays goes with the session
		}
	}()
	if c.clients, err = g.network(ctx, name+"-clients", false); err != nil {
		return nil, err
	}
	if brokers > 1 {
		if c.mesh, err = g.network(ctx, name+"-mesh", true); err != nil {
			return nil, err
		}
	}
	id := clusterID()
	for i := range brokers {
		c.addBroker(name, i+1, brokers)
		env := c.brokers[i].spec.env
		env["CLUSTER_ID"] = id
		if direct {
			env["KAFKA_ADVERTISED_LISTENERS"] = strings.Replace(env["KAFKA_ADVERTISED_LISTENERS"],
				advertised(int32(i+1)), c.brokers[i].address(clientPort), 1)
		}
	}
	return c, nil
}

// clusterID is a random one, in Kafka's form.
func clusterID() string {
	id := uuid.New()
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func brokerName(number int) string { return "kafka-" + strconv.Itoa(number) }

func (c *cluster) addBroker(name string, number, of int) {
	event := brokerName(number)
	address := firstBroker + number - 1
	at := []attachment{{network: c.clients, address: c.clients.address(address)}}
	if c.mesh != nil {
		at = append(at, attachment{network: c.mesh, address: c.mesh.address(address), aliases: []string{event}})
	}
	var b *container
	b = c.engine.container(containerSpec{
		name: name + "-" + event, event: event, image: c.config.image, at: at, ports: []int{clientPort},
		readyTimeout: startTimeout,
		env:          brokerEnvironment(number, of, c.config.profile),
		ready: func(ctx context.Context) error {
			seen, err := brokersSeen(ctx, c.dialer(), b.address(clientPort))
			if err == nil && !seen[int32(number)] {
				err = fmt.Errorf("%s is not part of its cluster yet", event)
			}
			return err
		},
	})
	c.brokers = append(c.brokers, b)
}

// kafkaProfiles are the failover timings that a cluster can have.
var kafkaProfiles = map[string]map[string]string{
	"default": {},
	// A dead leader is replaced within about 4 s instead of 10.
	"fast": {
		"KAFKA_BROKER_SESSION_TIMEOUT_MS":                 "2000",
		"KAFKA_BROKER_HEARTBEAT_INTERVAL_MS":              "500",
		"KAFKA_CONTROLLER_QUORUM_FETCH_TIMEOUT_MS":        "1000",
		"KAFKA_CONTROLLER_QUORUM_ELECTION_TIMEOUT_MS":     "500",
		"KAFKA_CONTROLLER_QUORUM_ELECTION_BACKOFF_MAX_MS": "300",
		// Nobody refuses for a dead container: a broker that connects to a controller which just died would
		// wait for 10 to 30 s before it asks the next one.
		"KAFKA_SOCKET_CONNECTION_SETUP_TIMEOUT_MS":     "1000",
		"KAFKA_SOCKET_CONNECTION_SETUP_TIMEOUT_MAX_MS": "2000",
	},
}

// brokerEnvironment configures one broker of several, as the official image wants it.
func brokerEnvironment(number, of int, profile string) map[string]string {
	// A broker alone keeps everything but its clients to itself.
	inside, self := "127.0.0.1", "127.0.0.1"
	voters := fmt.Sprintf("1@127.0.0.1:%d", controllerPort)
	if of > 1 {
		inside, self = "0.0.0.0", brokerName(number)
		all := make([]string, of)
		for i := range all {
			all[i] = fmt.Sprintf("%d@%s:%d", i+1, brokerName(i+1), controllerPort)
		}
		voters = strings.Join(all, ",")
	}
	replicas, inSync := strconv.Itoa(of), strconv.Itoa((of+1)/2)
	env := map[string]string{
		"KAFKA_NODE_ID":       strconv.Itoa(number),
		"KAFKA_PROCESS_ROLES": "broker,controller",
		"KAFKA_LISTENERS": fmt.Sprintf("PLAINTEXT://0.0.0.0:%d,BROKER://%s:%d,CONTROLLER://%s:%d",
			clientPort, inside, brokerPort, inside, controllerPort),
		"KAFKA_ADVERTISED_LISTENERS": fmt.Sprintf("PLAINTEXT://%s,BROKER://%s:%d",
			advertised(int32(number)), self, brokerPort),
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"KAFKA_INTER_BROKER_LISTENER_NAME":     "BROKER",
		"KAFKA_CONTROLLER_LISTENER_NAMES":      "CONTROLLER",
		"KAFKA_CONTROLLER_QUORUM_VOTERS":       voters,

		"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                        "false",
		"KAFKA_DEFAULT_REPLICATION_FACTOR":                       replicas,
		"KAFKA_MIN_INSYNC_REPLICAS":                              inSync,
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":                 replicas,
		"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS":                     "5", // 50 are slow to create
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR":         replicas,
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":                    inSync,
		"KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS":             "5",
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": replicas,
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR":            inSync,
		"KAFKA_SHARE_COORDINATOR_STATE_TOPIC_NUM_PARTITIONS":     "5",
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":                 "0",
		"KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS":                     "1000",

		// One thread per listener logs the connections in the order in which they came, see kafkaPeers.
		"KAFKA_NUM_NETWORK_THREADS": "1",
		"KAFKA_LOG4J_LOGGERS":       "kafka.network.Processor=DEBUG",

		// Small, and quick to start: what lives for minutes need not be compiled well.
		"KAFKA_HEAP_OPTS":                      "-Xms128m -Xmx384m",
		"KAFKA_JVM_PERFORMANCE_OPTS":           "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
		"KAFKA_LOG_CLEANER_DEDUPE_BUFFER_SIZE": "4194304",
		// A broker that was cut off finds the others by name as soon as it is back.
		"KAFKA_OPTS": "-Dsun.net.inetaddr.negative.ttl=0",
	}
	maps.Copy(env, kafkaProfiles[profile])
	return env
}

// start starts all brokers, unless they were started before, and returns when each of them knows all of
// them and serves groups and transactions.
func (c *cluster) start(ctx context.Context) error {
	if c.wasStarted() {
		return nil
	}
	// Starting a JVM is all work and no waiting: one cluster after the other is ready sooner than all at once.
	select {
	case c.config.turn <- struct{}{}:
		defer func() { <-c.config.turn }()
	case <-ctx.Done():
		return fmt.Errorf("await start of other brokers: %w", context.Cause(ctx))
	}
	noun := "brokers"
	if len(c.brokers) == 1 {
		noun = "broker"
	}
	c.engine.log(fmt.Sprintf("starting Kafka (%d %s)…", len(c.brokers), noun)) // it takes seconds
	group, starting := errgroup.WithContext(ctx)
	for _, b := range c.brokers {
		group.Go(func() error { return b.Start(starting) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not done after %s", startTimeout))
	defer cancel()
	for _, b := range c.brokers {
		err := await(ctx, b.Name()+" to see all brokers", func() (bool, error) {
			seen, err := brokersSeen(ctx, c.dialer(), b.address(clientPort))
			return err == nil && len(seen) == len(c.brokers), nil
		})
		if err != nil {
			return err
		}
	}
	if err := c.warm(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = true
	return nil
}

func (c *cluster) wasStarted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started
}

func (c *cluster) dialer() dialFunc {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dial
}

// lend makes the brokers write their logs and events for the environment.
func (c *cluster) lend(e *Environment) {
	c.mu.Lock()
	c.dial = e.ObserverDial
	c.mu.Unlock()
	for _, b := range c.brokers {
		e.names[b.Name()] = true
		b.lend(e.logPath(b.Name()), e.record)
		if b.Alive() {
			// It has run before, but to this environment it starts now.
			b.announce(history.Process{PID: b.PID(), State: history.Started}, true)
			b.announce(history.Process{PID: b.PID(), State: history.Ready}, true)
		}
	}
}

// serve starts the brokers, unless they run, and makes them ready for the environment.
func (c *cluster) serve(ctx context.Context, e *Environment, topics []Topic) error {
	if len(c.brokers) == 0 {
		return nil
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, serveTimeout, fmt.Errorf("brokers were not ready for an environment after %s", serveTimeout))
	defer cancel()
	for i, b := range c.brokers {
		seen := &kafkaPeers{broker: b, dial: e.ObserverDial, log: b.LogPath(), mesh: c.mesh}
		if err := seen.begin(ctx); err != nil {
			return err
		}
		e.refuses(b.address(clientPort), b)
		e.brokers = append(e.brokers, &Broker{
			Node: b, name: b.Name(), node: int32(i + 1), addr: b.address(clientPort), log: b.LogPath(),
			peerList: peerList{read: seen.read, proxied: !c.engine.direct},
		})
	}
	return c.create(ctx, topics)
}

// unlend ends what lend began.
func (c *cluster) unlend() {
	c.mu.Lock()
	c.dial = plainDial
	c.mu.Unlock()
	for _, b := range c.brokers {
		b.lend("", func(history.Process, bool) {})
	}
}

// remove removes the cluster, whatever state it is in.
func (c *cluster) remove(ctx context.Context) error {
	var containers, networks errgroup.Group
	for _, b := range c.brokers {
		containers.Go(func() error { return b.remove(ctx) })
	}
	err := containers.Wait()
	for _, n := range []*network{c.clients, c.mesh} {
		if n != nil {
			networks.Go(func() error { return n.remove(ctx) })
		}
	}
	if removing := networks.Wait(); err == nil {
		err = removing
	}
	return err
}
