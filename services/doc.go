// Package services owns the names of the designs of the reference services, of their parts, and of their removable guards.
//
// The services themselves are [github.com/ordeal-chaos/ordeal/services/order],
// [github.com/ordeal-chaos/ordeal/services/stock] and, where orders are paid for,
// [github.com/ordeal-chaos/ordeal/services/payment]: plain programs over Postgres and Kafka that know
// nothing of the harness. All are configured by environment variables only. Durations are in Go's
// notation ("250ms"); a wrong value stops the program with one line that names the variable and exit code 64.
//
//	INSTANCE           name of this process in logs and connections  (default: the service's name)
//	HTTP_ADDR          address to serve HTTP on                      (required)
//	DATABASE_URL       Postgres URL of this service's own database   (required)
//	KAFKA_BROKERS      comma-separated bootstrap addresses           (required)
//	STOCK_URL          order only: base URL of the stock service     (default: none, products are not checked)
//	PAYMENT_URL        order only: base URL of the payment service   (required by saga and TCC)
//	ORDER_URL          base URL of the order service                 (required of participants in TCC)
//	REDIS_ADDR         stock only: address of Redis                  (required by redis-counter)
//	PARTS              parts of the design, joined by +              (default: those of the sound design)
//	WITHOUT            comma-separated guards to remove              (default: none)
//	ORDER_TTL          order only: age at which PENDING is cancelled (default: 4s)
//	SWEEP_INTERVAL     pause between sweeps                          (default: 100ms)
//	RESERVATION_TTL    life of a reservation without order, of a hold (default: 3s)
//	PAYMENT_LIMIT      payment only: greatest amount not declined    (default: none)
//	RETRY_ATTEMPTS     attempts of a record before its dead letter   (default: 4)
//	RETRY_BACKOFF      pause after the first failure, then doubling; (default: 50ms)
//	                   after each failure with fixed-backoff
//	ACK_COUNT          records before a commit, with ack-count and   (default: 10)
//	                   ack-count-time
//	ACK_TIME           pause between commits, with ack-time and      (default: 20ms)
//	                   ack-count-time
//	AUTO_COMMIT_INTERVAL
//	                   pause between commits, with auto-commit       (default: 100ms)
//	REDRIVE_INTERVAL   pause between replays of dead letters         (default: 500ms)
//	LOCK_TIMEOUT       longest wait for a row lock                   (default: 200ms)
//	RELAY_POLL         pause between polls of the outbox             (default: 25ms)
//	PRODUCT_CACHE_TTL  order only: life of a product look-up         (default: 200ms; 0s asks every time)
//	SESSION_TIMEOUT    consumer group session and rebalance timeout  (default: 2s)
//
// With several brokers a service survives the loss of any of them, as long as topics keep enough in-sync replicas: it
// waits for the next leader or coordinator, and produces again what nobody acknowledged.
//
// GET /ready answers 200 once the database is up and the consumer group was joined. The tables are
// created at start when they are missing; the topics order-events, stock-events, where orders are
// paid for payment-events, and dlt- of each (with retry-topics, retry- of each too) are made by whoever runs the
// services, which wait for them.
package services
