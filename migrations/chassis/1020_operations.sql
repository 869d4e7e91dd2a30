-- What operators plan and carry out. Not the log: what an operation did to a saga is in that saga's stream, with who, why
-- and the plan's hash. A plan may be deleted once it is too old; an operation once nobody asks for it any more.

create table operation_plan (
    created_at timestamptz not null,
    expires_at timestamptz not null,
    approved_at timestamptz,
    operation_id uuid,
    hash text collate "C" primary key,
    actor text collate "C" not null,
    approved_by text collate "C",
    -- The plan as the contract words it, every item included.
    plan json not null
);

create index operation_plan_expires on operation_plan (expires_at);

create table operation (
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Somebody is on it, until then.
    claimed_until timestamptz,
    id uuid primary key,
    total integer not null,
    rate integer not null,
    canary integer not null,
    failures_max integer not null,
    -- The number of `farmera.saga.v1.Operation.State`.
    state smallint not null,
    plan_hash text collate "C" not null,
    actor text collate "C" not null,
    approved_by text collate "C" not null,
    reason text not null,
    detail text not null,
    act json not null
);

create index operation_running on operation (created_at) where state = 1;

create table operation_item (
    operation_id uuid not null references operation (id) on delete cascade,
    -- What the plan rests on: the version of the saga's stream, or how often the letter was tried.
    version bigint not null,
    ordinal integer not null,
    -- 0 waits, 1 succeeded, 2 failed.
    state smallint not null default 0,
    -- The saga's id, or the letter's number.
    item text collate "C" not null,
    failure text not null default '',
    primary key (operation_id, ordinal)
) with (fillfactor = 70);

grant select, insert, update, delete on operation_plan, operation, operation_item to public;
