-- The database of the stock service. Idempotent; applied whole, in one transaction.

-- No CHECK (available >= 0): it would hide that the conditional update is missing.
create table if not exists stock (
	product_id text primary key,
	available  bigint not null,
	reserved   bigint not null default 0,
	sold       bigint not null default 0,
	version    bigint not null default 1
);

-- Append-only: every change of stock has a row here, written in the same transaction.
create table if not exists stock_ledger (
	entry_id       bigserial primary key,
	product_id     text        not null,
	op             text        not null, -- initial, restock, reserve, release or sell
	qty            bigint      not null check (qty > 0),
	order_id       text,
	reservation_id text,
	line_no        int,
	event_id       text,       -- the consumed event that caused it
	created_at     timestamptz not null default now()
);

-- order_id is not unique: only the inbox protects from redelivery.
create table if not exists reservations (
	reservation_id text primary key,
	order_id       text,
	status         text        not null, -- RESERVED, CONFIRMED, RELEASED, REJECTED or EXPIRED
	event_id       text,       -- of the event that announced it
	expires_at     timestamptz,
	created_at     timestamptz not null default now(),
	updated_at     timestamptz not null default now()
);
create index if not exists reservations_order on reservations (order_id);
create index if not exists reservations_expiring on reservations (expires_at) where status = 'RESERVED' and expires_at is not null;

-- What a coordinator was told of each order: TRIED, or CANCELLED. It fences off a Try that comes after its Cancel.
create table if not exists fences (
	order_id   text primary key,
	state      text        not null,
	created_at timestamptz not null default now()
);

create table if not exists reservation_lines (
	reservation_id text   not null,
	line_no        int    not null,
	product_id     text   not null,
	qty            bigint not null,
	primary key (reservation_id, line_no)
);

create table if not exists idempotency_keys (
	idempotency_key text primary key,
	reservation_id  text        not null,
	fingerprint     text        not null,
	created_at      timestamptz not null default now()
);

-- Of a single writer: the latest generation of the consumer group that wrote for the partition.
create table if not exists writer_fence (
	partition  int primary key,
	generation int not null
);

-- Of a counter in Redis: which intents committed. One that is false was given up, and cannot commit any more.
create table if not exists cache_intents (
	intent_id  text primary key,
	committed  boolean     not null,
	created_at timestamptz not null default now()
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
