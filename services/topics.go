package services

// Names of the services, and of the databases and consumer groups of the same names.
const (
	OrderService   = "order"
	StockService   = "stock"
	PaymentService = "payment"
)

// Topics of events, each produced by one service, and the prefixes that make the names of their dead-letter and retry topics.
const (
	OrderEvents      = "order-events"
	StockEvents      = "stock-events"
	PaymentEvents    = "payment-events"
	DeadLetterPrefix = "dlt-"
	RetryPrefix      = "retry-"
)

// Consumes lists the topics of events that a service reads in designs of these parts; none: it is in no consumer group.
// Retry and dead-letter topics are not in it.
func (p Parts) Consumes(service string) []string {
	p = p.withDefaults()
	paid := p.Payment == Payment
	switch p.Coordination {
	case Saga, TCCRest:
		return nil // they are called over REST
	case TCCKafka:
		if service == OrderService {
			return nil
		}
		return []string{OrderEvents}
	}
	switch {
	case service == OrderService && paid:
		return []string{StockEvents, PaymentEvents}
	case service == OrderService:
		return []string{StockEvents}
	case service == PaymentService:
		return []string{OrderEvents, StockEvents}
	default:
		return []string{OrderEvents}
	}
}

// Retries lists the retry topics that a service writes and reads in designs of these parts.
func (p Parts) Retries(service string) []string {
	if p.Failures != RetryTopics {
		return nil
	}
	var topics []string
	for _, topic := range p.Consumes(service) {
		topics = append(topics, RetryPrefix+topic)
	}
	return topics
}

// RedriveRounds is how often a dead letter is replayed before it stays one.
const RedriveRounds = 3

// Calls lists the services that a service calls over REST in designs of these parts.
func (p Parts) Calls(service string) []string {
	p = p.withDefaults()
	coordinated := p.CoordinatesOverREST()
	asks := p.Coordination == TCCRest || p.Coordination == TCCKafka
	switch {
	case service == OrderService && coordinated:
		return []string{StockService, PaymentService}
	case service == OrderService:
		return []string{StockService}
	case asks:
		return []string{OrderService}
	default:
		return nil
	}
}

// CoordinatesOverREST reports whether the order service asks the others over REST to take part in an order.
func (p Parts) CoordinatesOverREST() bool {
	return p.Coordination == Saga || p.Coordination == TCCRest || p.Coordination == TCCKafka
}
