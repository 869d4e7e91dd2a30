-- How many sagas have ended, and how: kept up with saga_view, by the same projection, so that counting them needs no look
-- at each. A saga ends once and nothing happens to it afterwards; what is not over is few and is counted as it is.
create table saga_ended (
    count              bigint not null,
    first_started      timestamptz not null,
    last_updated       timestamptz not null,
    definition_version integer not null,
    -- The number of `farmera.saga.v1.Saga.State`: 4, 5 or 6.
    state              smallint not null,
    definition         text collate "C" not null,
    error_code         text collate "C" not null,
    currency           text collate "C" not null,
    primary key (state, definition, definition_version, error_code, currency)
) with (fillfactor = 50);

grant select, insert, update, delete on saga_ended to public;

insert into saga_ended (
    state, definition, definition_version, error_code, currency, count, first_started, last_updated
)
select state, definition, definition_version, error_code, currency, count(*), min(started_at), max(updated_at)
from saga_view
where state in (4, 5, 6)
group by state, definition, definition_version, error_code, currency;
