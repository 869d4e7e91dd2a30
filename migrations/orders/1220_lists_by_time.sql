-- Newest and oldest are said of times: an id may be of any kind, so it only decides between what began at once.

create index saga_view_by_start on saga_view (started_at, saga_id);
create index saga_view_by_start_not_completed on saga_view (started_at, saga_id) where state <> 4;
-- The first of the two says better which part of the table holds a day.
drop index saga_view_started;

create index order_view_by_start on order_view (created_at, order_id);
drop index order_view_customer;
create index order_view_customer on order_view (customer_id, created_at, order_id);
drop index order_view_open;
create index order_view_open on order_view (state, created_at, order_id) where state not in (4, 5, 6);
