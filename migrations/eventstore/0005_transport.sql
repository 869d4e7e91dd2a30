-- What a service remembers of the broker, and which history its database tells.

-- The broker's memory as it was last seen, one row per stream of the broker. A broker that knows less has lost something.
create table broker_mark (
    stream text collate "C" primary key,
    -- How often the broker was found to have lost something. Part of every message's id but in epoch 0, so that the
    -- broker's own memory of ids cannot swallow what is published again.
    epoch integer not null default 0 check (epoch >= 0),
    -- When the broker made the stream.
    created_at timestamptz not null,
    -- The oldest message it holds, and when that came; none when it holds none.
    first_sequence bigint not null,
    first_at timestamptz,
    -- The newest message that it acknowledged, and that message's id.
    last_sequence bigint not null,
    last_message text,
    -- How many messages between the two are known to be missing.
    missing bigint not null,
    -- Every consumer has handled what transactions below this one told.
    handled xid8 not null,
    -- The durable consumers that were ever seen; those that are away count, too.
    consumers text [] not null,
    updated_at timestamptz not null default now()
) with (fillfactor = 50);

-- The history that this database tells. A database that was put back to an older state and goes on begins a new one.
create table store_epoch (
    number integer generated always as identity primary key,
    epoch uuid not null default gen_random_uuid(),
    began_at timestamptz not null default now(),
    reason text not null
);

insert into store_epoch (reason) values ('the store was made');

grant select, insert, update on broker_mark to public;
grant select on store_epoch to public;
