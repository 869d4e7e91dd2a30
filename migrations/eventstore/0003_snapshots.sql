-- States of long streams, written down so that loading need not fold from the beginning. Copies of what the log says: a
-- row, or all of them, may be deleted at any time.
create table snapshot (
    version bigint not null check (version > 0),
    taken_at timestamptz not null default now(),
    stream_id uuid not null,
    -- The number of the state's shape; programs ignore those of other shapes.
    shape smallint not null,
    category text collate "C" not null,
    -- The digest of the event at `version`: the snapshot is believed only while the log holds this very event.
    digest bytea not null,
    state json not null,
    primary key (category, stream_id)
);

-- Not the log: it may be rewritten and emptied by the service.
grant select, insert, update, delete on snapshot to public;
