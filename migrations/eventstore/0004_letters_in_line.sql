-- Dead letters stand in line: what comes for the same thing after a message that nobody could handle is parked behind
-- it, in order, until the first is redriven or discarded.

-- Whose line a letter stands in: the stream its publisher told of (`saga/0199…`), or `#` and the message's own name for
-- a message of which not even that is known; nothing waits behind those.
alter table dead_letter
    add column sequence bigint not null default 0,
    add column attempts integer not null default 0,
    add column key text collate "C",
    add column status text collate "C" not null default 'waiting',
    add column last_error text,
    add column ended_at timestamptz,
    add column ended_by text,
    add column note text,
    add constraint dead_letter_status check (status in ('waiting', 'redriven', 'discarded'));

update dead_letter set key = '#' || message;

alter table dead_letter alter column key set not null;

-- The line itself, in order.
create index dead_letter_line on dead_letter (consumer, key, sequence, id) where status = 'waiting';

-- The lines that have letters waiting. Exists exactly as long as there is one.
create table blocked (
    -- Counts the letters that have come. Whoever ends a line names the count it has seen: no letter can slip in between.
    generation bigint not null default 1,
    since timestamptz not null default now(),
    -- Handed out for redriving, and not to be handed out again before this.
    claimed_until timestamptz,
    redrive boolean not null default false,
    consumer text collate "C" not null,
    key text collate "C" not null,
    asked_by text,
    primary key (consumer, key)
);

create index blocked_redrive on blocked (consumer, key) where redrive;

insert into blocked (consumer, key, since)
select consumer, key, min(parked_at)
from dead_letter
group by consumer, key;

grant select, insert, update, delete on blocked to public;
