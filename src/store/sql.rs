//! Hand-made SQL for what diesel's query language does not say through the enum: dynamic sorting, filters, row locks.
//!
//! Text from outside only ever becomes a bound value; names of columns come from the registry in `queries/columns.rs`.

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, HasSqlType, Text, Untyped};
use diesel::sqlite::Sqlite;
use diesel::{QueryResult, QueryableByName, RunQueryDsl};

use super::connection::{AnyConnection, on_each};

/// Whose SQL is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub(super) fn of(connection: &AnyConnection) -> Self {
        match connection {
            AnyConnection::Sqlite(_) => Self::Sqlite,
            AnyConnection::Postgres(_) => Self::Postgres,
        }
    }
}

/// A bound value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Text(String),
    Int(i64),
    Bool(bool),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}
impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// SQL under construction: a whole statement, whose columns are found by name, or a condition in one of diesel's.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    dialect: Dialect,
    text: String,
    /// Each stands before this byte of the text.
    values: Vec<(usize, Value)>,
}

impl Sql {
    pub(super) fn new(dialect: Dialect, text: &str) -> Self {
        Self { dialect, text: text.to_owned(), values: Vec::new() }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Appends SQL.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a placeholder for `value`; NULL is written out, for it has no type.
    pub(super) fn bind(&mut self, value: Value) -> &mut Self {
        if value == Value::Null {
            return self.push("NULL");
        }
        self.values.push((self.text.len(), value));
        self
    }

    /// Appends `(v, v, …)`.
    pub(super) fn bind_list(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        self.push("(");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.bind(value);
        }
        self.push(")")
    }

    /// Reads rows by the names of their columns. For few rows: each name is looked up in each row.
    pub(super) fn load<T>(self, connection: &mut AnyConnection) -> QueryResult<Vec<T>>
    where
        T: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
    {
        on_each!(connection, inner => RunQueryDsl::load(self, inner))
    }

    /// Runs a statement; the number of rows it touched.
    pub(super) fn execute(self, connection: &mut AnyConnection) -> QueryResult<usize> {
        on_each!(connection, inner => RunQueryDsl::execute(self, inner))
    }
}

impl<DB> QueryFragment<DB> for Sql
where
    DB: Backend + HasSqlType<Text> + HasSqlType<BigInt> + HasSqlType<Bool>,
    String: diesel::serialize::ToSql<Text, DB>,
    i64: diesel::serialize::ToSql<BigInt, DB>,
    bool: diesel::serialize::ToSql<Bool, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        // the texts are as many as the questions of clients
        out.unsafe_to_cache_prepared();
        let mut written = 0;
        for (at, value) in &self.values {
            out.push_sql(&self.text[written..*at]);
            written = *at;
            match value {
                Value::Text(text) => out.push_bind_param::<Text, _>(text)?,
                Value::Int(number) => out.push_bind_param::<BigInt, _>(number)?,
                Value::Bool(flag) => out.push_bind_param::<Bool, _>(flag)?,
                Value::Null => out.push_sql("NULL"),
            }
        }
        out.push_sql(&self.text[written..]);
        Ok(())
    }
}

impl QueryId for Sql {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// A whole statement.
impl Query for Sql {
    type SqlType = Untyped;
}
impl<C> RunQueryDsl<C> for Sql {}

/// A condition.
impl Expression for Sql {
    type SqlType = Bool;
}
impl<QS> AppearsOnTable<QS> for Sql {}
impl<QS> SelectableExpression<QS> for Sql {}
impl<GB> ValidGrouping<GB> for Sql {
    type IsAggregate = is_aggregate::Never;
}

/// A row with one number.
#[derive(Debug, QueryableByName)]
pub(super) struct Number {
    #[diesel(sql_type = BigInt)]
    pub number: i64,
}

/// A row with one id.
#[derive(Debug, QueryableByName)]
pub(super) struct Id {
    #[diesel(sql_type = Text)]
    pub id: String,
}
