//! Empty copies of a read model's tables in a schema of their own, and the switch that puts them in the place of the
//! live ones.
//!
//! The statements depend on names, so they cannot be static. The server writes them, from its own catalogue and with its
//! own quoting; all that is static here are the questions.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::rebuild::RebuildError;

/// What a copy could not take over. Text for the operator.
const UNFIT: &str = "
select wanted.name,
    case
        when live.oid is null then 'there is no such table in the schema public: run `farmera migrate`'
        when live.relkind <> 'r' then 'it is no ordinary table'
        when live.relhastriggers or live.relhasrules or live.relrowsecurity
            then 'it has triggers, foreign keys, rules or policies'
        when not exists (select from pg_constraint where conrelid = live.oid and contype = 'p')
            then 'it has no primary key'
    end as reason
from unnest($1::text[]) as wanted (name)
left join pg_class as live on live.oid = to_regclass(format('public.%I', wanted.name))";

/// The table as it is, indexes and constraints under the same names, then owner and rights.
const CREATE: &str = "
with live as (
    select pg_class.*, wanted.place
    from unnest($2::text[]) with ordinality as wanted (name, place)
    join pg_class on pg_class.oid = to_regclass(format('public.%I', wanted.name))
)
select statement
from (
    select 0 as place, 0 as step, format('create schema %I', $1::text) as statement
    union all
    select place, 1, format(
        'create table %1$I.%2$I (like public.%2$I including all excluding indexes)%3$s',
        $1, relname, ' with (' || array_to_string(reloptions, ', ') || ')'
    )
    from live
    union all
    select place, 2, format('alter table %I.%I add constraint %I %s', $1, relname, conname, pg_get_constraintdef(con.oid))
    from live
    join pg_constraint as con on con.conrelid = live.oid
    where contype in ('p', 'u', 'x')
    union all
    select place, 3, replace(
        pg_get_indexdef(indexrelid), format(' ON public.%I ', relname), format(' ON %I.%I ', $1, relname)
    )
    from live
    join pg_index on indrelid = live.oid
    where not exists (select from pg_constraint where conindid = indexrelid)
    union all
    select place, 4, format('alter table %I.%I owner to %I', $1, relname, pg_get_userbyid(relowner))
    from live
    union all
    select place, 5, format(
        'grant %s on %I.%I to %s%s', string_agg(privilege_type, ', '), $1, relname,
        case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
        case when is_grantable then ' with grant option' else '' end
    )
    from live
    cross join aclexplode(relacl)
    group by place, relname, grantee, is_grantable
) as statements
order by place, step";

const DROP: &str = "
select format('drop schema if exists %I cascade', $1::text)
where $2::text[] is not null";

const ANALYZE: &str = "
select format('analyze %I.%I', $1::text, name)
from unnest($2::text[]) as wanted (name)";

const SWITCH: &str = "
select statement
from unnest($2::text[]) with ordinality as wanted (name, place)
cross join lateral (
    values
        (1, format('drop table public.%I', name)),
        (2, format('alter table %I.%I set schema public', $1::text, name))
) as statements (step, statement)
order by place, step";

const COUNT: &str = "
select format('select (%s)::bigint', string_agg(format('(select count(*) from %I.%I)', $1::text, name), ' + '))
from unnest($2::text[]) as wanted (name)";

/// All rows of both that are not the same in both, by key.
const DIFFERENCES: &str = "
select name, format(
    'select count(*) over () as count, to_json(live)::text as live, to_json(rebuilt)::text as rebuilt
     from public.%2$I as live
     full join %1$I.%2$I as rebuilt using (%3$s)
     where live is distinct from rebuilt
     order by %3$s
     limit %4$s',
    $1::text, name, string_agg(quote_ident(attname), ', ' order by ordinal), $3::bigint
)
from unnest($2::text[]) with ordinality as wanted (name, place)
join pg_constraint on conrelid = to_regclass(format('public.%I', name)) and contype = 'p'
cross join unnest(conkey) with ordinality as key (attnum, ordinal)
join pg_attribute on attrelid = conrelid and pg_attribute.attnum = key.attnum
group by name, place
order by place";

/// A row that is not the same in the live read model and in the one that was built from the log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Its table.
    pub table: String,
    /// The row in use, as JSON; `None` where there is none.
    pub live: Option<String>,
    /// The row that follows from the log, as JSON; `None` where there is none.
    pub rebuilt: Option<String>,
}

/// The schema `rebuild_<projection>` with copies of the tables.
pub(super) struct Scratch {
    schema: String,
    tables: Vec<&'static str>,
}

impl Scratch {
    pub(super) fn new(projection: &str, tables: &[&'static str]) -> Self {
        Self { schema: format!("rebuild_{projection}"), tables: tables.to_vec() }
    }

    /// Its name: the only schema in which a rebuild looks for tables.
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Can these tables be copied?
    pub(super) async fn fit(&self, connection: &mut PgConnection) -> Result<(), RebuildError> {
        let unfit: Vec<(String, Option<String>)> =
            sqlx::query_as(UNFIT).bind(&self.tables).fetch_all(connection).await?;
        match unfit.into_iter().find_map(|(table, reason)| Some((table, reason?))) {
            Some((table, reason)) => Err(RebuildError::Unfit { table, reason }),
            None => Ok(()),
        }
    }

    /// Makes empty copies. What an earlier rebuild left behind goes first.
    pub(super) async fn create(&self, connection: &mut PgConnection) -> Result<(), RebuildError> {
        self.fit(connection).await?;
        self.drop(connection).await?;
        let mut transaction = connection.begin().await?;
        self.run(&mut transaction, CREATE).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Leaves nothing behind.
    pub(super) async fn drop(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.run(connection, DROP).await
    }

    /// Tells the planner what is in the copies.
    pub(super) async fn analyze(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.run(connection, ANALYZE).await
    }

    /// The copies take the live tables' place, within the caller's transaction.
    pub(super) async fn switch(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.run(connection, SWITCH).await
    }

    /// Rows of the copies.
    pub(super) async fn rows(&self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        rows(connection, &self.schema, &self.tables).await
    }

    /// Where the copies differ from the live tables, within the caller's snapshot: how many rows, and the first of them,
    /// at most `limit` per table.
    pub(super) async fn differences(
        &self,
        connection: &mut PgConnection,
        limit: i64,
    ) -> Result<(u64, Vec<Difference>), sqlx::Error> {
        let questions: Vec<(String, String)> = sqlx::query_as(DIFFERENCES)
            .bind(&self.schema)
            .bind(&self.tables)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
        let (mut total, mut first) = (0, Vec::new());
        for (table, question) in questions {
            let rows: Vec<(i64, Option<String>, Option<String>)> =
                sqlx::query_as(AssertSqlSafe(question)).fetch_all(&mut *connection).await?;
            total += rows.first().map_or(0, |(count, ..)| u64::try_from(*count).unwrap_or(0));
            first.extend(rows.into_iter().map(|(_, live, rebuilt)| Difference { table: table.clone(), live, rebuilt }));
        }
        Ok((total, first))
    }

    async fn run(&self, connection: &mut PgConnection, question: &'static str) -> Result<(), sqlx::Error> {
        let statements: Vec<String> =
            sqlx::query_scalar(question).bind(&self.schema).bind(&self.tables).fetch_all(&mut *connection).await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

/// Rows of these tables of a schema.
pub(super) async fn rows(connection: &mut PgConnection, schema: &str, tables: &[&str]) -> Result<u64, sqlx::Error> {
    let question: String = sqlx::query_scalar(COUNT).bind(schema).bind(tables).fetch_one(&mut *connection).await?;
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(connection).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}
