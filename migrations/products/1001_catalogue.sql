-- The catalogue's read models. Written by the projection `catalogue` alone; all of it follows from the log, so it may
-- be emptied at any time together with the projection's row, and fills again.

create table farm_view (
    id uuid primary key,
    name text not null,
    email text not null
);

create table product_view (
    id uuid primary key,
    farm_id uuid not null,
    price_minor_units bigint not null,
    available bigint not null check (available >= 0),
    reserved bigint not null check (reserved >= 0),
    shipped bigint not null check (shipped >= 0),
    version bigint not null,
    active boolean not null,
    currency text collate "C" not null,
    name text not null,
    farm_name text not null,
    farm_email text not null
) with (
    -- Stock moves all the time and no index holds it: with room on the page a change touches no index.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

grant select, insert, update, delete on farm_view, product_view to public;
