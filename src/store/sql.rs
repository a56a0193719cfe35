//! Hand-made SQL for what diesel's query language does not say through the enum: dynamic sorting, filters, row locks.
//!
//! Text from outside only ever becomes a bound value; names of columns come from the registry in `queries/columns.rs`.

use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;
use diesel::{QueryResult, QueryableByName, RunQueryDsl};

use super::connection::AnyConnection;

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

/// The statement with its values, for one backend.
macro_rules! bound {
    ($sql:expr, $backend:ty) => {{
        let mut query = diesel::sql_query($sql.text).into_boxed::<$backend>();
        for value in $sql.values {
            query = match value {
                Value::Text(text) => query.bind::<Text, _>(text),
                Value::Int(number) => query.bind::<BigInt, _>(number),
                Value::Bool(flag) => query.bind::<Bool, _>(flag),
                Value::Null => query,
            };
        }
        query
    }};
}

/// A statement under construction.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    dialect: Dialect,
    text: String,
    values: Vec<Value>,
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
        self.values.push(value);
        match self.dialect {
            Dialect::Sqlite => self.text.push('?'),
            Dialect::Postgres => self.text.push_str(&format!("${}", self.values.len())),
        }
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

    /// Reads rows.
    pub(super) fn load<T>(self, connection: &mut AnyConnection) -> QueryResult<Vec<T>>
    where
        T: QueryableByName<Sqlite> + QueryableByName<Pg> + 'static,
    {
        match connection {
            AnyConnection::Sqlite(inner) => bound!(self, Sqlite).load(inner),
            AnyConnection::Postgres(inner) => bound!(self, Pg).load(inner),
        }
    }

    /// Runs a statement; the number of rows it touched.
    pub(super) fn execute(self, connection: &mut AnyConnection) -> QueryResult<usize> {
        match connection {
            AnyConnection::Sqlite(inner) => bound!(self, Sqlite).execute(inner),
            AnyConnection::Postgres(inner) => bound!(self, Pg).execute(inner),
        }
    }
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
