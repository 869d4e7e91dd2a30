-- Since when an abandoned saga owes what it holds: it is listed with it until somebody has seen to it.

alter table saga_view add column owed_since timestamptz;

create index saga_view_owed on saga_view (owed_since) where owed_since is not null;

-- What those owe that were abandoned before is in the log alone: the read model is made anew where there are any.
do $$
begin
    if exists (select from saga_view where state = 6) then
        truncate saga_view, saga_ended, saga_held, step_begun, step_usual;
        delete from projection where name = 'saga_view';
    end if;
end
$$;
