-- Which steps of which sagas wait at a hold; written with saga_view, by the same projection.

create table saga_held (
    saga_id uuid not null,
    step    text collate "C" not null,
    hold    text collate "C" not null,
    since   timestamptz not null,
    primary key (saga_id, step)
);

create index saga_held_longest on saga_held (hold, since, saga_id);

grant select, insert, update, delete on saga_held to public;
