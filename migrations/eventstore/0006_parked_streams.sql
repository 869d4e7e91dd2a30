-- Streams that a read model cannot follow now: they have an event that the program did not understand. The read model
-- goes on without them and takes them up, from this very event, when a program comes that understands it.
-- Changed only by whoever holds the lock of the consumer's row in `projection`.
create table parked_stream (
    stream_id uuid not null,
    -- The first event that is not applied, and how many are not by now.
    version bigint not null check (version > 0),
    skipped bigint not null,
    parked_at timestamptz not null default now(),
    -- When it was last tried to take it up.
    looked_at timestamptz not null default now(),
    consumer text collate "C" not null,
    category text collate "C" not null,
    reason text not null,
    primary key (consumer, stream_id, category)
);

grant select, insert, update, delete on parked_stream to public;
