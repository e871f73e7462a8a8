-- The database of the order service. Idempotent; applied whole, in one transaction.

create table if not exists orders (
	order_id        text primary key,
	status          text        not null,
	version         int         not null,
	idempotency_key text,
	payment_amt     bigint      not null,
	event_id        text        not null, -- of the event that announces this version
	created_at      timestamptz not null default now(),
	updated_at      timestamptz not null default now()
);
create index if not exists orders_pending on orders (created_at) where status = 'PENDING';

create table if not exists order_lines (
	order_id   text   not null,
	line_no    int    not null,
	product_id text   not null,
	qty        bigint not null,
	primary key (order_id, line_no)
);

-- The next step of each order that the order service coordinates, as a saga or by try, confirm and cancel.
create table if not exists coordinations (
	order_id     text primary key,
	step         text        not null,
	leased_until timestamptz not null default now(),
	created_at   timestamptz not null default now(),
	updated_at   timestamptz not null default now()
);
create index if not exists coordinations_due on coordinations (leased_until) where step <> 'done';

create table if not exists idempotency_keys (
	idempotency_key text primary key,
	order_id        text        not null,
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
