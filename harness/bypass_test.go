package harness

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ordeal-chaos/ordeal/harness/history"
)

// doorkeeper is a server that accepted these connections.
type doorkeeper struct {
	peers     []int
	strangers []string
	exact     bool
	err       error
}

func (doorkeeper) Name() string                   { return "kafka-1" }
func (doorkeeper) Addr() string                   { return "172.18.0.2:9093" }
func (d doorkeeper) Peers() ([]int, error)        { return d.peers, d.err }
func (d doorkeeper) Strangers() ([]string, error) { return d.strangers, nil }
func (d doorkeeper) PeersExact() bool             { return d.exact }

func TestBypassIsJudgedByPortOrByCount(t *testing.T) {
	// Port 1 was dialled from twice, port 2 once.
	ours := dialled{
		uses:  func(port int) int { return map[int]int{1: 2, 2: 1}[port] },
		total: func() int { return 3 },
	}
	for name, test := range map[string]struct {
		server doorkeeper
		ok     bool
		detail string
	}{
		"each port as often as it was used": {doorkeeper{peers: []int{1, 2, 1}, exact: true}, true, ""},
		"a port once too often":             {doorkeeper{peers: []int{1, 2, 2}, exact: true}, false, "a connection from local port 2"},
		"a port that nobody used":           {doorkeeper{peers: []int{1, 9}, exact: true}, false, "a connection from local port 9"},
		"a connection from elsewhere":       {doorkeeper{peers: []int{1}, strangers: []string{"172.18.0.9"}, exact: true}, false, "172.18.0.9"},
		"nobody at all":                     {doorkeeper{exact: true}, false, ""},
		"behind a proxy, as many":           {doorkeeper{peers: []int{7, 8, 9}}, true, "counted, for a proxy hides the ports: 3 accepted, 3 dialled"},
		"behind a proxy, one too many":      {doorkeeper{peers: []int{6, 7, 8, 9}}, false, "counted, for a proxy hides the ports: 4 accepted, 3 dialled"},
		"behind a proxy, from elsewhere":    {doorkeeper{peers: []int{7}, strangers: []string{"172.18.0.9"}}, false, "172.18.0.9"},
		"behind a proxy, nobody at all":     {doorkeeper{}, false, "0 accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			probe, err := judgeBypass(test.server, ours)
			require.NoError(t, err)
			assert.Equal(t, history.ProbeBypass, probe.Name)
			assert.Equal(t, "kafka-1", probe.Subject)
			assert.Equal(t, test.ok, probe.OK)
			assert.Contains(t, probe.Detail, test.detail)
			assert.Equal(t, int64(len(test.server.peers)), probe.Numbers["peers"])
			if test.ok {
				assert.Zero(t, probe.Numbers["strangers"])
			}
		})
	}
	_, err := judgeBypass(doorkeeper{err: errors.New("no log")}, ours)
	assert.ErrorContains(t, err, "no log")
}
