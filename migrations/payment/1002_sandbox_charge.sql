-- The books of the sandbox provider. They are another company's: nobody but `payment::sandbox` reads or writes them.
-- No index beside the key, and room on every page: the one update a charge usually sees stays on its page.
create table sandbox_charge (
    charge_id     uuid     primary key,
    payment_id    uuid     not null,
    minor_units   bigint   not null,
    currency      text     not null,
    token         text     not null,
    answers_from  smallint not null,
    requests      integer  not null,
    status        text     not null
                  check (status in ('failing', 'authorized', 'declined', 'captured', 'voided', 'refunded')),
    refusal       text,
    capture_epoch integer,
    void_epoch    integer,
    refund_epoch  integer
) with (fillfactor = 60);

grant select, insert, update on sandbox_charge to public;
