-- What was told to whom: follows the log, written by the projection alone.
create table notification_view (
    create_time timestamptz not null,
    update_time timestamptz not null,
    id uuid primary key,
    -- The order, or the product for stock notices.
    subject_id uuid not null,
    failed_tries integer not null,
    -- 1 accepted, 2 delivered, 3 failed: as in the contract.
    state smallint not null check (state between 1 and 3),
    kind text collate "C" not null,
    recipients text[] not null
) with (
    -- Every row changes once soon after it came: room beside it, so that no index is touched.
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.05
);

create index notification_view_subject on notification_view (subject_id, id);

grant select, insert, update, delete on notification_view to public;
