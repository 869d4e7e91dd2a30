-- Every event carries a digest over itself and the one before it in its stream: see `eventstore::Digest`.
--
-- Events from before this migration keep an empty one, and each stream's chain starts with the first event after them.
-- No row is rewritten: the default stands in the catalogue.
alter table event add column digest bytea not null default '';

-- A service must see which migrations its database has had: it refuses to work on a newer schema than it knows.
grant select on _sqlx_migrations to public;
