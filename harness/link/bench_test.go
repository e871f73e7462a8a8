package link_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
	"github.com/ordeal-chaos/ordeal/harness/link"
	"github.com/ordeal-chaos/ordeal/harness/wire"
)

func frame(code byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{code}, uint32(len(body)+4)), body...)
}

// statement is what pgx sends for one prepared insert, answered what Postgres answers.
var (
	statement = slices.Concat(
		frame('B', "\x00s1\x00\x00\x00\x00\x02\x00\x00\x00\x0aorder-0001\x00\x00\x00\x013\x00\x00"),
		frame('D', "P\x00"), frame('E', "\x00\x00\x00\x00\x00"), frame('S', ""))
	result = slices.Concat(frame('2', ""), frame('n', ""), frame('C', "INSERT 0 1\x00"), frame('Z', "T"))
)

// answerStatements is a server that answers each statement at once.
func answerStatements(c *net.TCPConn) {
	startup := make([]byte, 8)
	if _, err := io.ReadFull(c, startup); err != nil {
		return
	}
	buffer := make([]byte, len(statement))
	for {
		if _, err := io.ReadFull(c, buffer); err != nil {
			return
		}
		if _, err := c.Write(result); err != nil {
			return
		}
	}
}

// drive runs b.N statements over 8 connections and reports statements a second and their median.
func drive(b *testing.B, addr string) {
	const conns = 8
	took := make([][]time.Duration, conns)
	var wait sync.WaitGroup
	sockets := make([]net.Conn, conns)
	for i := range sockets {
		c, err := net.Dial("tcp", addr)
		require.NoError(b, err)
		defer c.Close()
		sockets[i] = c
		_, err = c.Write([]byte{0, 0, 0, 8, 0, 3, 0, 0})
		require.NoError(b, err)
	}
	b.ResetTimer()
	for i, c := range sockets {
		wait.Go(func() {
			answer := make([]byte, len(result))
			for n := i; n < b.N; n += conns {
				start := time.Now()
				if _, err := c.Write(statement); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(c, answer); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "msgs/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
}

// toxiproxyTo is a plain Toxiproxy proxy with its own listener.
func toxiproxyTo(b *testing.B, upstream string) string {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "plain", "127.0.0.1:0", upstream)
	require.NoError(b, proxy.Start())
	b.Cleanup(proxy.Stop)
	return proxy.Listen
}

func BenchmarkStatements(b *testing.B) {
	upstream := serve(b, answerStatements)
	b.Run("direct", func(b *testing.B) { drive(b, upstream) })
	b.Run("toxiproxy", func(b *testing.B) { drive(b, toxiproxyTo(b, upstream)) })
	config := link.Config{
		Name: "order->postgres", Protocol: wire.Postgres, Upstream: upstream, Record: func(history.Wire) {},
	}
	b.Run("link", func(b *testing.B) { drive(b, open(b, config).Addr()) })
	b.Run("link-watched", func(b *testing.B) {
		l := open(b, config)
		w := l.Watch()
		defer w.Stop()
		drive(b, l.Addr())
	})
	b.Run("link-with-toxic", func(b *testing.B) {
		l := open(b, config)
		_, err := l.Toxic(link.Latency{})
		require.NoError(b, err)
		drive(b, l.Addr())
	})
}

func BenchmarkBulk(b *testing.B) {
	upstream := serve(b, echo)
	for name, addr := range map[string]func(*testing.B) string{
		"direct":    func(*testing.B) string { return upstream },
		"toxiproxy": func(b *testing.B) string { return toxiproxyTo(b, upstream) },
		"link":      func(b *testing.B) string { return open(b, link.Config{Upstream: upstream}).Addr() },
	} {
		b.Run(name, func(b *testing.B) {
			c := dial(b, addr(b))
			data := make([]byte, 1<<20)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				go func() { _, _ = c.Write(data) }()
				if _, err := io.CopyN(io.Discard, c, int64(len(data))); err != nil {
					b.Fatal(fmt.Errorf("read echo: %w", err))
				}
			}
		})
	}
}
