// Package config owns the environment variables of the services; the table is in package services.
package config

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ordeal-chaos/ordeal/services"
)

// ExitUsage is the exit code for a wrong configuration (EX_USAGE of sysexits.h).
const ExitUsage = 64

// Config is what the environment says. Every field is valid.
type Config struct {
	Instance        string
	HTTPAddr        string
	DatabaseURL     string
	Brokers         []string
	StockURL        string // empty: products are not checked
	PaymentURL      string // where the parts need it
	OrderURL        string // likewise
	RedisAddr       string // likewise
	Parts           services.Parts
	Without         services.Without
	OrderTTL        time.Duration
	SweepInterval   time.Duration
	ReservationTTL  time.Duration
	PaymentLimit    int64 // 0: none
	RetryAttempts   int
	RetryBackoff    time.Duration
	AckCount        int
	AckTime         time.Duration
	AutoCommit      time.Duration // interval
	RedriveInterval time.Duration
	LockTimeout     time.Duration
	RelayPoll       time.Duration
	ProductCacheTTL time.Duration
	SessionTimeout  time.Duration
}

// Load reads the configuration of the named service. An error is one line that starts with the variable.
func Load(service string, getenv func(string) string) (Config, error) {
	env := environment{getenv: getenv}
	cfg := Config{
		Instance:        env.text("INSTANCE", service),
		HTTPAddr:        env.address("HTTP_ADDR"),
		DatabaseURL:     env.url("DATABASE_URL", true, "postgres", "postgresql"),
		Brokers:         env.addresses("KAFKA_BROKERS"),
		StockURL:        strings.TrimSuffix(env.url("STOCK_URL", false, "http", "https"), "/"),
		PaymentURL:      strings.TrimSuffix(env.url("PAYMENT_URL", false, "http", "https"), "/"),
		OrderURL:        strings.TrimSuffix(env.url("ORDER_URL", false, "http", "https"), "/"),
		RedisAddr:       env.text("REDIS_ADDR", ""),
		Parts:           env.parts("PARTS"),
		Without:         env.guards("WITHOUT"),
		OrderTTL:        env.duration("ORDER_TTL", 4*time.Second, time.Millisecond),
		SweepInterval:   env.duration("SWEEP_INTERVAL", 100*time.Millisecond, time.Millisecond),
		ReservationTTL:  env.duration("RESERVATION_TTL", 3*time.Second, time.Millisecond),
		PaymentLimit:    int64(env.count("PAYMENT_LIMIT", 0)),
		RetryAttempts:   env.count("RETRY_ATTEMPTS", 4),
		RetryBackoff:    env.duration("RETRY_BACKOFF", 50*time.Millisecond, time.Millisecond),
		AckCount:        env.count("ACK_COUNT", 10),
		AckTime:         env.duration("ACK_TIME", 20*time.Millisecond, time.Millisecond),
		AutoCommit:      env.duration("AUTO_COMMIT_INTERVAL", 100*time.Millisecond, time.Millisecond),
		RedriveInterval: env.duration("REDRIVE_INTERVAL", 500*time.Millisecond, time.Millisecond),
		LockTimeout:     env.duration("LOCK_TIMEOUT", 200*time.Millisecond, time.Millisecond),
		RelayPoll:       env.duration("RELAY_POLL", 25*time.Millisecond, time.Millisecond),
		ProductCacheTTL: env.duration("PRODUCT_CACHE_TTL", 200*time.Millisecond, 0),
		// A group whose members time out faster than they beat never settles.
		SessionTimeout: env.duration("SESSION_TIMEOUT", 2*time.Second, 100*time.Millisecond),
	}
	if service == services.StockService && cfg.Parts.Stock == services.RedisCounter {
		env.address("REDIS_ADDR")
	}
	return cfg, env.err
}

// environment reads variables and keeps the first error.
type environment struct {
	getenv func(string) string
	err    error
}

func (e *environment) fail(name, format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...))
	}
}

func (e *environment) text(name, otherwise string) string {
	if value := strings.TrimSpace(e.getenv(name)); value != "" {
		return value
	}
	return otherwise
}

func (e *environment) required(name string) string {
	value := e.text(name, "")
	if value == "" {
		e.fail(name, "is required")
	}
	return value
}

func (e *environment) address(name string) string {
	value := e.required(name)
	if _, _, err := net.SplitHostPort(value); value != "" && err != nil {
		e.fail(name, "%q is no host:port", value)
	}
	return value
}

func (e *environment) addresses(name string) []string {
	var addresses []string
	for value := range strings.SplitSeq(e.required(name), ",") {
		if value = strings.TrimSpace(value); value == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(value); err != nil {
			e.fail(name, "%q is no host:port", value)
		}
		addresses = append(addresses, value)
	}
	if len(addresses) == 0 {
		e.fail(name, "holds no address")
	}
	return addresses
}

func (e *environment) url(name string, required bool, schemes ...string) string {
	value := e.text(name, "")
	if value == "" {
		if required {
			e.fail(name, "is required")
		}
		return ""
	}
	parsed, err := url.Parse(value)
	if err != nil || parsed.Host == "" {
		// The value may hold a password: it is not repeated.
		e.fail(name, "is no URL with a host")
		return value
	}
	for _, scheme := range schemes {
		if parsed.Scheme == scheme {
			return value
		}
	}
	e.fail(name, "scheme %q is not %s", parsed.Scheme, strings.Join(schemes, " or "))
	return value
}

func (e *environment) duration(name string, otherwise, least time.Duration) time.Duration {
	value := e.text(name, "")
	if value == "" {
		return otherwise
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		e.fail(name, "%q is no duration such as 250ms", value)
	} else if d < least {
		e.fail(name, "%v is less than %v", d, least)
	}
	return d
}

func (e *environment) count(name string, otherwise int) int {
	value := e.text(name, "")
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		e.fail(name, "%q is no number from 1", value)
	}
	return n
}

func (e *environment) parts(name string) services.Parts {
	parts, err := services.ParseParts(e.getenv(name))
	if err != nil {
		e.fail(name, "%v", err)
	}
	return parts
}

func (e *environment) guards(name string) services.Without {
	without, err := services.ParseGuards(e.getenv(name))
	if err != nil {
		e.fail(name, "%v", err)
	}
	return without
}
