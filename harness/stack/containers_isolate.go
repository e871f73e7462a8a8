package stack

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// isolate takes a broker off the mesh. Its clients' network stays.
func (c *cluster) isolate(ctx context.Context, broker string) error {
	return c.setIsolated(ctx, broker, true)
}

// rejoin puts it back, under the same address and name.
func (c *cluster) rejoin(ctx context.Context, broker string) error {
	return c.setIsolated(ctx, broker, false)
}

func (c *cluster) setIsolated(ctx context.Context, broker string, isolated bool) error {
	at := slices.IndexFunc(c.brokers, func(b *container) bool { return b.Name() == broker })
	if at < 0 {
		return fmt.Errorf("isolate %s: no such broker", broker)
	}
	if c.mesh == nil {
		return fmt.Errorf("isolate %s: it is the only broker", broker)
	}
	b := c.brokers[at]
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isolated[broker] == isolated {
		return nil
	}
	if isolated {
		// Before the call: one that is given up may be carried out all the same.
		c.isolated[broker] = true
		if err := c.mesh.disconnect(ctx, b.id); err != nil {
			return fmt.Errorf("isolate %s: %w", broker, err)
		}
	} else if err := c.mesh.connect(ctx, b.id, b.spec.at[1]); err != nil && !strings.Contains(err.Error(), "already exists") {
		return fmt.Errorf("rejoin %s: %w", broker, err)
	}
	c.isolated[broker] = isolated
	return nil
}
