-- The database of the payment service. Idempotent; applied whole, in one transaction.

-- One payment an order, for ever: whoever comes second finds the first.
create table if not exists payments (
	payment_id text primary key,
	order_id   text        not null unique,
	status     text        not null, -- AUTHORIZED, CAPTURED, DECLINED, VOIDED or REFUNDED
	amount     bigint      not null, -- 0 where the order was cancelled before anything was charged
	version    int         not null,
	event_id   text,                 -- of the event that announces this version; null: none does
	expires_at timestamptz,          -- of a hold; kept by one that expired
	created_at timestamptz not null default now(),
	updated_at timestamptz not null default now()
);
create index if not exists payments_expiring on payments (expires_at) where status = 'AUTHORIZED';

-- Append-only: every movement of money has a row here, written in the same transaction.
create table if not exists payment_ledger (
	entry_id   bigserial primary key,
	payment_id text        not null,
	order_id   text        not null,
	op         text        not null, -- authorize, capture, void, refund or decline
	amount     bigint      not null,
	event_id   text,                 -- the consumed event that caused it
	created_at timestamptz not null default now()
);

create table if not exists idempotency_keys (
	idempotency_key text primary key,
	payment_id      text        not null,
	fingerprint     text        not null,
	created_at      timestamptz not null default now()
);

create table if not exists inbox (
	consumer      text        not null,
	event_id      text        not null,
	outcome       text        not null, -- applied, ignored, dead-lettered or replayed
	topic         text        not null,
	partition     int         not null,
	record_offset bigint      not null,
	order_id      text,                 -- with version: where dead letters are replayed
	version       int,
	replays       int         not null default 0,
	processed_at  timestamptz not null default now(),
	primary key (consumer, event_id)
);
create index if not exists inbox_order on inbox (order_id) where order_id is not null;

-- Records that wait in a retry topic. Those of one order and topic come back in the order of their ids.
create table if not exists parked (
	id         bigserial primary key,
	consumer   text        not null,
	topic      text        not null,
	order_id   text        not null,
	event_id   text        not null,
	round      int         not null, -- how often it was set aside
	created_at timestamptz not null default now(),
	unique (consumer, event_id)
);
create index if not exists parked_order on parked (order_id);

create table if not exists outbox (
	id           bigserial primary key,
	event_id     text        not null,
	topic        text        not null,
	partition    int,         -- null: chosen by key
	key          text,
	raw_key      bytea,       -- set when the key of a dead letter is no text
	headers      jsonb       not null,
	payload      bytea,
	created_at   timestamptz not null default now(),
	published_at timestamptz
);
create index if not exists outbox_unpublished on outbox (id) where published_at is null;
