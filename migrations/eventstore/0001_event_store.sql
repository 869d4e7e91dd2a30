-- The event store of one service: what happened, and the small tables that are written in the same transaction.
--
-- Run as the owner of the database. The service itself connects as another role, which owns nothing. Every database
-- admits only its own service role (CONNECT is revoked from PUBLIC), so "public" below means: that one service.
-- Versions 1 to 999 of a database's migrations belong to this folder, those from 1000 on to its service.

-- The log. Rows are written once and never changed: nobody but the owner could.
-- Columns stand in the order of their alignment, widest first: a row has no padding.
create table event (
    -- The writing transaction and the row's number: the log's order, see `eventstore::Cursor`.
    tx xid8 not null default pg_current_xact_id(),
    position bigint generated always as identity,
    version bigint not null check (version > 0),
    time timestamptz not null,
    stream_id uuid not null,
    event_id uuid not null,
    correlation_id uuid not null,
    causation_id uuid not null,
    schema_version smallint not null,
    category text collate "C" not null,
    type text collate "C" not null,
    actor text not null,
    trace text,
    -- Not jsonb: taking a payload apart to write it costs 30 % of the throughput, and nothing here looks inside.
    payload json not null,
    -- The fence: two writers of one version cannot both succeed. Also the way to read a stream.
    primary key (stream_id, version, category)
);

create index event_log on event (tx, position);

-- Transactions whose events have not all reached the broker yet. A reference, not a copy; one row per transaction.
create table outbox (
    tx xid8 primary key default pg_current_xact_id(),
    written_at timestamptz not null default now()
) with (
    -- Rows live for milliseconds. Dead ones are cleaned early, so that looking at the oldest stays cheap.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

-- Messages that were handled, for handlers whose own streams cannot tell.
create table inbox (
    message uuid not null,
    handled_at timestamptz not null default now(),
    consumer text collate "C" not null,
    constraint inbox_pkey primary key (consumer, message)
);

-- Wake-up calls, at most one per stream.
create table timer (
    stream_id uuid not null,
    due timestamptz not null,
    -- Handed out, and not to be handed out again before this.
    claimed_until timestamptz,
    category text collate "C" not null,
    primary key (stream_id, category)
) with (
    -- Room beside each row for the claim, which then touches no index.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

create index timer_due on timer (due);

-- Messages nobody could handle, each kept once per consumer.
create table dead_letter (
    id bigint generated always as identity primary key,
    parked_at timestamptz not null default now(),
    consumer text collate "C" not null,
    message text collate "C" not null,
    subject text not null,
    headers json not null,
    body bytea not null,
    reason text not null,
    unique (consumer, message)
);

-- How far each read model that follows the log has come.
create table projection (
    name text collate "C" primary key,
    tx xid8 not null,
    position bigint not null,
    updated_at timestamptz not null default now()
);

-- Append-only by privilege, not by promise: no UPDATE, no DELETE, no TRUNCATE on events.
grant select, insert on event to public;
grant select, insert, update, delete on outbox, inbox, timer, dead_letter, projection to public;
