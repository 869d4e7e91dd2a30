-- Whoever works in this database by hand, or with a program of their own, and leaves a transaction open that has
-- written, holds back everybody who reads the log. The services set limits on each of their connections; this one is
-- for everybody else, unless their role or session says otherwise. It holds for sessions that begin from now on.
do $$
begin
    execute format('alter database %I set idle_in_transaction_session_timeout = %L', current_database(), '5s');
exception
    when insufficient_privilege then
        raise warning 'the database''s owner should set idle_in_transaction_session_timeout to 5s for it';
end
$$;
