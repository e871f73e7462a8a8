package conformance_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

// links: a link does what it says, whatever server is behind it.
func links(t *testing.T, s *suite) {
	e := s.start(t, 0)
	node, port := e.startService(t, "service")
	for _, server := range append(e.servers(), server{
		node, node.Name(), port.Addr(), wire.HTTP, []byte("GET /pid HTTP/1.1\r\nHost: service\r\n\r\n"),
	}) {
		t.Run(server.name, func(t *testing.T) {
			l := server.link(t, e.Environment, nil)
			ask(t, server, plain, l.Addr()).isAnswered(t, "nothing is in force")
			slows(t, server, l)
			cuts(t, server, l)
			outlivesItsServer(t, server, l)
		})
	}
}

// slows: latency and stalls keep back, and lose nothing.
func slows(t *testing.T, s server, l *link.Link) {
	const delay = 200 * time.Millisecond
	for _, direction := range []string{history.Request, history.Response} {
		heal, err := l.Toxic(link.Latency{Direction: direction, Delay: delay})
		require.NoError(t, err)
		took := ask(t, s, plain, l.Addr()).isAnswered(t, "with latency")
		assert.GreaterOrEqual(t, took, delay, direction)
		require.NoError(t, heal(within(t, patience)))
		require.Eventually(t, func() bool {
			return ask(t, s, plain, l.Addr()).isAnswered(t, "healed") < delay
		}, patience, time.Millisecond)

		open := l.Stall(direction)
		asked := ask(t, s, plain, l.Addr())
		asked.isNotAnswered(t, "a stalled "+direction)
		open()
		asked.isAnswered(t, "what was stalled arrives")
	}
}

// cuts: what is refused or reset ends at once.
func cuts(t *testing.T, s server, l *link.Link) {
	asked := ask(t, s, plain, l.Addr())
	asked.isAnswered(t, "before")
	heal, err := l.Refuse()
	require.NoError(t, err)
	conn, err := net.Dial("tcp", l.Addr())
	if !assert.ErrorIs(t, err, syscall.ECONNREFUSED) {
		_ = conn.Close()
	}
	assertEnded(t, asked)
	require.NoError(t, heal())

	asked = ask(t, s, plain, l.Addr())
	asked.isAnswered(t, "it listens again")
	// Connections whose clients have closed them may still be on their way out.
	assert.GreaterOrEqual(t, l.Reset(), 1)
	assertEnded(t, asked)
	ask(t, s, plain, l.Addr()).isAnswered(t, "only what was open is reset")
}

// outlivesItsServer: clients of a dead server are not left waiting, and find it again under its link.
func outlivesItsServer(t *testing.T, s server, l *link.Link) {
	addr := l.Addr()
	asked := ask(t, s, plain, addr)
	asked.isAnswered(t, "alive")
	window := l.Watch()
	defer window.Stop()
	require.NoError(t, s.Kill(within(t, patience)))
	assertEnded(t, asked)
	began := time.Now()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err == nil { // a link takes a connection before it finds that there is nobody
		t.Cleanup(func() { _ = conn.Close() })
		assertEnded(t, &asking{Conn: conn})
	}
	assert.Less(t, time.Since(began), 2*time.Second, "a client was left waiting")
	require.Eventually(t, func() bool { return window.Measure().DialFailed == 1 }, patience, time.Millisecond)
	require.NoError(t, s.Start(within(t, time.Minute)))
	assert.Equal(t, addr, l.Addr())
	ask(t, s, plain, addr).isAnswered(t, "it is back")
}

// assertEnded says whether the connection ends soon: well before the link would give up on a server.
func assertEnded(t *testing.T, a *asking) {
	t.Helper()
	began := time.Now()
	buffer := make([]byte, 1<<10)
	require.NoError(t, a.SetReadDeadline(began.Add(patience)))
	for {
		if _, err := a.Read(buffer); err != nil { // behind the rest of an answer
			break
		}
	}
	assert.Less(t, time.Since(began), 2*time.Second, "it ended late or never")
}

// peers: servers accepted the connections of links and observers and no others, and notice a stranger.
func peers(t *testing.T, s *suite) {
	e := s.start(t, 0)
	lists := map[string]accepting{}
	for _, pg := range e.PostgresServers() {
		lists[pg.Name()] = pg
	}
	for _, broker := range e.Brokers() {
		lists[broker.Name()] = broker
	}
	for _, server := range e.servers() {
		list := lists[server.name]
		t.Run(server.name, func(t *testing.T) {
			l := server.link(t, e.Environment, nil)
			for range 3 {
				ask(t, server, plain, l.Addr()).isAnswered(t, "through the link")
			}
			observer := ask(t, server, e.ObserverDial, server.addr)
			observer.isAnswered(t, "as an observer")
			through := []*link.Link{l}
			assert.Empty(t, walkedRound(t, e.Environment, list, through))
			if list.PeersExact() {
				seen, err := list.Peers()
				require.NoError(t, err)
				assert.Contains(t, seen, observer.LocalAddr().(*net.TCPAddr).Port, "the list is complete at once")
			}

			// Whether it says anything or not: the list tells of connections.
			ask(t, server, plain, server.addr).isAnswered(t, "as a stranger")
			assert.Len(t, walkedRound(t, e.Environment, list, through), 1)

			require.NoError(t, server.Kill(within(t, patience)))
			assert.Len(t, walkedRound(t, e.Environment, list, through), 1, "a dead server's list can be read")
		})
	}
}
