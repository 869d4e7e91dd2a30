-- The sagas of a customer are found by the customer, all of them: not by way of orders, of which only so many were looked at.

create index saga_view_customer on saga_view (customer_id);
