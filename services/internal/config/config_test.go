package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLoad(t *testing.T) {
	env := map[string]string{
		"HTTP_ADDR": "127.0.0.1:8887", "DATABASE_URL": "postgres://u:secret@127.0.0.1/orders",
		"KAFKA_BROKERS": "127.0.0.1:1, 127.0.0.1:2", "STOCK_URL": "http://127.0.0.1:8888/",
		"WITHOUT": "sweeper", "ORDER_TTL": "1s", "PRODUCT_CACHE_TTL": "0s",
	}
	cfg, err := Load("order", func(name string) string { return env[name] })
	require.NoError(t, err)
	assert.Equal(t, "order", cfg.Instance)
	assert.Equal(t, []string{"127.0.0.1:1", "127.0.0.1:2"}, cfg.Brokers)
	assert.Equal(t, "http://127.0.0.1:8888", cfg.StockURL)
	assert.True(t, cfg.Without.Lacks("sweeper"))
	assert.Equal(t, time.Second, cfg.OrderTTL)
	assert.Zero(t, cfg.ProductCacheTTL)
	assert.Equal(t, 4, cfg.RetryAttempts)
	assert.Equal(t, 10, cfg.AckCount)
	assert.Equal(t, []time.Duration{20 * time.Millisecond, 100 * time.Millisecond}, []time.Duration{cfg.AckTime, cfg.AutoCommit})
	assert.Equal(t, 2*time.Second, cfg.SessionTimeout)

	for name, values := range map[string][]string{
		"HTTP_ADDR": {"", "8887"}, "DATABASE_URL": {"", "mysql://h/d", "postgres:///d", "::"}, "KAFKA_BROKERS": {"", ",", "kafka"},
		"STOCK_URL": {"stock:8888", "ftp://h"}, "WITHOUT": {"nothing", "outbox,after-commit-outbox"},
		"ORDER_TTL": {"0s", "-1s", "4"}, "RETRY_ATTEMPTS": {"0", "many"}, "ACK_COUNT": {"0"}, "ACK_TIME": {"0s"},
		"AUTO_COMMIT_INTERVAL": {"0s"}, "REDRIVE_INTERVAL": {"1"}, "SESSION_TIMEOUT": {"1ms"}, "PRODUCT_CACHE_TTL": {"-1ns"},
	} {
		for _, value := range values {
			_, err := Load("order", func(n string) string {
				if n == name {
					return value
				}
				return env[n]
			})
			assert.ErrorContains(t, err, name+": ", "%q", value)
			assert.NotContains(t, err.Error(), "secret")
			assert.NotContains(t, err.Error(), "\n")
		}
	}
}
