package stack

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Broker is one Kafka broker. It is a [Node]. All brokers of an embedded environment live in one
// process, so that killing or pausing one does it to all, and the history says so.
type Broker struct {
	Node
	peerList
	name string
	node int32
	addr string
	log  string // "" is the node's; that of a pooled one is another environment's by and by
}

// Name implements [Node].
func (b *Broker) Name() string { return b.name }

// LogPath implements [Node].
func (b *Broker) LogPath() string { return cmp.Or(b.log, b.Node.LogPath()) }

// LastLog implements [Node].
func (b *Broker) LastLog(n int) []string { return lastLines(b.LogPath(), n) }

// Addr is the broker's own address, which only observers and links may use.
func (b *Broker) Addr() string { return b.addr }

// PublishedAddr is the address for people: where the broker is a container, its port on this machine.
func (b *Broker) PublishedAddr() string { return published(b.Node, b.addr) }

// NodeID is the broker's id in the Kafka protocol.
func (b *Broker) NodeID() int32 { return b.node }

var peerLine = regexp.MustCompile(`^(\d+)\n`)

// advertised is the address that a broker gives to clients: a dead one, on purpose, so that a client
// that walks round its link fails at once.
func advertised(node int32) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(node)+1)) }

// brokerConfig is what the broker program is told, in brokerEnv.
type brokerConfig struct {
	Data   string
	Ports  []int
	Peers  []string // a file per broker
	Topics []Topic
	Direct bool // advertise the real addresses
}

const brokerEnv = "ORDEAL_BROKER"

// addBrokers describes the brokers of one environment and their process. It is not started.
func (b *embedded) addBrokers(e *Environment, options Options, data string) error {
	config := brokerConfig{Data: data, Topics: options.Topics, Direct: options.Direct}
	process := &Process{
		log: filepath.Join(e.logs, "kafka.log"), reaper: b.reaper, record: e.record,
	}
	for node := range int32(brokerCount(options)) {
		port, err := e.reserveLocal()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("kafka-%d", node+1)
		peers := filepath.Join(e.logs, name+".peers")
		e.brokers = append(e.brokers, &Broker{
			Node: process, name: name, node: node, addr: port.Addr(), peerList: loggedPeers(peers, peerLine),
		})
		config.Ports = append(config.Ports, port.Number())
		config.Peers = append(config.Peers, peers)
		process.task.events = append(process.task.events, name)
		process.task.Ports = append(process.task.Ports, port)
	}
	told, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("configure brokers: %w", err)
	}
	process.task.Name, process.task.Program, process.task.stop = "kafka", brokerProgram, syscall.SIGTERM
	process.task.Env = []string{brokerEnv + "=" + string(told)}
	process.task.Ready = func(ctx context.Context) error {
		for _, broker := range e.brokers {
			if err := answersKafka(ctx, e.ObserverDial, broker.Addr()); err != nil {
				return err
			}
		}
		return nil
	}
	e.addServer(process)
	return nil
}

// brokerCount is the number of brokers to start: one by default, none where there are no topics.
func brokerCount(options Options) int {
	if options.Brokers == 0 && len(options.Topics) > 0 {
		return 1
	}
	return options.Brokers
}

// answersKafka says whether a broker answers its first request; a mere connection may still wait in
// the queue of a broker that is loading its data.
func answersKafka(ctx context.Context, dial dialFunc, addr string) (err error) {
	conn, err := dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	request := kmsg.NewPtrApiVersionsRequest()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("ordeal")).AppendRequest(nil, request, 1)
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return fmt.Errorf("read answer of %s: %w", addr, err)
	}
	if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
		return fmt.Errorf("read answer of %s: %w", addr, err)
	}
	return nil
}
