-- What operators look for in sagas. The read model is made anew from the log: the follower begins at its start again.
-- (Numbers, not names: `farmera.saga.v1.Saga.State`, `TimelineEntry.Lane`.)

truncate saga_view;

delete from projection where name = 'saga_view';

alter table saga_view
    add column customer_id uuid not null,
    add column amount bigint not null,
    add column units bigint not null,
    -- Money held, money taken, goods held (at order value, and in units) while the saga is not over.
    add column authorized bigint not null,
    add column captured bigint not null,
    add column reserved bigint not null,
    add column reserved_units bigint not null,
    add column attempt integer not null,
    add column lane smallint not null,
    add column currency text collate "C" not null,
    add column step text collate "C" not null,
    add column error_code text collate "C" not null,
    add column error text not null;

-- Almost every saga is completed; the others are what operators look at.
create index saga_view_not_completed on saga_view (state, saga_id) where state <> 4;
-- Rows come in the order of their start: a few pages of this say which part of the table holds a day.
create index saga_view_started on saga_view using brin (started_at) with (pages_per_range = 32);

-- Since when a step is asked for that is not settled yet.
create table step_begun (
    begun_at timestamptz not null,
    saga_id uuid not null,
    lane smallint not null,
    step text collate "C" not null,
    primary key (saga_id, step, lane)
) with (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

-- How long steps take: how many of them took so long, in buckets of a quarter of an octave of microseconds.
create table step_usual (
    count bigint not null,
    bucket smallint not null,
    lane smallint not null,
    step text collate "C" not null,
    primary key (step, lane, bucket)
) with (fillfactor = 50);

grant select, insert, update, delete on step_begun, step_usual to public;
