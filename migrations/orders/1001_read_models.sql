-- Read models of orders. Each is written by its projection alone and can be thrown away and made again from the log.

create table order_view (
    order_id        uuid primary key,
    customer_id     uuid not null,
    state           smallint not null,
    minor_units     bigint not null,
    currency        text collate "C" not null,
    failure_reason  text,
    failure_message text,
    cancelling      boolean not null,
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    version         bigint not null
) with (fillfactor = 85);

-- Newest first, of all or of one customer. Order ids begin with their time, so the key alone sorts well enough.
create index order_view_customer on order_view (customer_id, order_id desc);
-- What is not over is little; what is over is everything.
create index order_view_open on order_view (state, order_id desc) where state not in (4, 5, 6);

create table saga_view (
    saga_id    uuid primary key,
    definition text collate "C" not null,
    definition_version integer not null,
    order_id   uuid not null,
    state      smallint not null,
    started_at timestamptz not null,
    updated_at timestamptz not null,
    version    bigint not null
) with (fillfactor = 85);

create index saga_view_open on saga_view (saga_id) where state in (1, 2, 3);

grant select, insert, update, delete on order_view, saga_view to public;
