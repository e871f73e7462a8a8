package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// brokerMain is the broker process: one kfake cluster on fixed ports, with its data on disk. A bug in
// kfake ends this process by a panic, which the harness records as an exit that nobody asked for.
func brokerMain(ctx context.Context) int {
	if err := serveBroker(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveBroker(ctx context.Context) error {
	var config brokerConfig
	if err := json.Unmarshal([]byte(os.Getenv(brokerEnv)), &config); err != nil {
		return fmt.Errorf("read %s: %w", brokerEnv, err)
	}
	nodes := make(map[string]int32, len(config.Ports)) // by listening address
	peers := make([]*os.File, len(config.Ports))
	for i, port := range config.Ports {
		nodes[net.JoinHostPort("127.0.0.1", strconv.Itoa(port))] = int32(i)
		file, err := os.OpenFile(config.Peers[i], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("open list of peers: %w", err)
		}
		defer file.Close()
		peers[i] = file
	}
	options := []kfake.Opt{
		kfake.Ports(config.Ports...),
		kfake.DataDir(config.Data),
		kfake.SyncWrites(),
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelWarn)),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			listener, err := net.Listen(network, address)
			if err != nil {
				return nil, err
			}
			node := nodes[address]
			shown := advertised(node)
			if config.Direct {
				shown = address
			}
			return &brokerListener{Listener: listener, advertised: shown, peers: peers[node]}, nil
		}),
	}
	for _, topic := range config.Topics {
		options = append(options, kfake.SeedTopics(topic.Partitions, topic.Name))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return fmt.Errorf("start brokers: %w", err)
	}
	if err := spread(cluster, config); err != nil {
		cluster.Close()
		return fmt.Errorf("spread leaders: %w", err)
	}
	<-ctx.Done()
	cluster.Close()
	return nil
}

// spread gives each broker as many partitions of a topic to lead as the next, as Kafka does; kfake draws the
// leaders, and draws anew at a restart. A broker that leads nothing would leave its links idle.
func spread(cluster *kfake.Cluster, config brokerConfig) error {
	brokers := int32(len(config.Ports))
	for _, topic := range config.Topics {
		for partition := range topic.Partitions {
			if brokers == 1 {
				continue // moving it would only raise its epoch
			}
			if err := cluster.MoveTopicPartition(topic.Name, partition, partition%brokers); err != nil {
				return fmt.Errorf("move %s/%d: %w", topic.Name, partition, err)
			}
		}
	}
	return nil
}

// brokerListener advertises another address than its own, and writes down every peer before the broker
// can serve it.
type brokerListener struct {
	net.Listener
	advertised string
	peers      *os.File
}

// Addr returns the advertised address: kfake gives it to clients and uses it for nothing else.
func (l *brokerListener) Addr() net.Addr { return advertisedAddr(l.advertised) }

// Accept implements [net.Listener].
func (l *brokerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err == nil {
		_, err = fmt.Fprintln(l.peers, port)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("write down peer: %w", err)
	}
	return conn, nil
}

type advertisedAddr string

func (advertisedAddr) Network() string  { return "tcp" }
func (a advertisedAddr) String() string { return string(a) }
