-- Payments as lists show them; written by the projection `payment-view` only.
create table payment_view (
    payment_id     uuid        primary key,
    order_id       uuid        not null,
    customer_id    uuid,
    minor_units    bigint,
    currency       text,
    state          smallint    not null, -- the number of farmera.payment.v1.Payment.State
    charge         text,
    decline_reason text,
    create_time    timestamptz not null,
    update_time    timestamptz not null,
    version        bigint      not null
) with (fillfactor = 70);

create index payment_view_by_order on payment_view (order_id, payment_id);

grant select, insert, update, delete on payment_view to public;
