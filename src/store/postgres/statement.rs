//! Statements over many rows whose text never changes, so that each is prepared once for each connection: the values of a
//! column are one array, however many rows there are. (diesel's own UPDATE and INSERT of several rows are written out
//! and prepared anew each time.)

use std::marker::PhantomData;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Text};
use diesel::{PgConnection, QueryResult, RunQueryDsl};

/// Rows of one table, held column by column.
pub(super) trait Columns: Default + 'static {
    /// One row.
    type Row;
    /// The table.
    const TABLE: &'static str;
    /// The columns; the first is the key.
    const NAMES: &'static [&'static str];

    /// Appends a row.
    fn push(&mut self, row: Self::Row);
    /// How many rows there are.
    fn len(&self) -> usize;
    /// The keys of the rows.
    fn keys(&self) -> &Vec<String>;
    /// Writes `$1, $2, …`: each column's values.
    fn bind<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

/// Inserts the rows; a row that exists is an error.
pub(super) struct Insert<C>(pub C);
/// Inserts those rows whose key does not exist.
pub(super) struct InsertMissing<C>(pub C);
/// Writes the columns to the rows that have these keys.
pub(super) struct Update<C>(pub C);

/// Removes the rows of this table that have these keys.
pub(super) struct Delete<C> {
    keys: Vec<String>,
    columns: PhantomData<C>,
}

impl<C> Delete<C> {
    pub(super) fn new(keys: Vec<String>) -> Self {
        Self { keys, columns: PhantomData }
    }
}

fn push_list(out: &mut AstPass<'_, '_, Pg>, names: &[&str], mut push: impl FnMut(&mut AstPass<'_, '_, Pg>, &str)) {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push_sql(", ");
        }
        push(out, name);
    }
}

/// `INSERT` of the rows.
pub(super) fn walk_insert<'b, C: Columns>(columns: &'b C, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
    out.push_sql("INSERT INTO ");
    out.push_sql(C::TABLE);
    out.push_sql(" (");
    push_list(&mut out, C::NAMES, |out, name| out.push_sql(name));
    out.push_sql(") SELECT * FROM unnest(");
    columns.bind(out.reborrow())?;
    out.push_sql(")");
    Ok(())
}

/// `UPDATE` of the rows that have these keys.
pub(super) fn walk_update<'b, C: Columns>(columns: &'b C, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
    push_update_up_to_values::<C>(&mut out);
    columns.bind(out.reborrow())?;
    walk_update_by_key(columns, "", out)
}

/// As [`walk_update`], of live rows which have the expected generations only.
pub(super) fn walk_guarded_update<'b, C: Columns>(
    columns: &'b C,
    expected: &'b Vec<i64>,
    mut out: AstPass<'_, 'b, Pg>,
) -> QueryResult<()> {
    push_update_up_to_values::<C>(&mut out);
    columns.bind(out.reborrow())?;
    out.push_sql(", ");
    out.push_bind_param::<Array<BigInt>, _>(expected)?;
    walk_update_by_key(columns, ", expected", out.reborrow())?;
    // the deleted are ruled out in words that no index answers to
    out.push_sql(" AND old.generation = new.expected AND old.deleted IS NOT TRUE");
    Ok(())
}

fn push_update_up_to_values<C: Columns>(out: &mut AstPass<'_, '_, Pg>) {
    let (_, values) = C::NAMES.split_first().expect("a table has columns");
    out.push_sql("UPDATE ");
    out.push_sql(C::TABLE);
    out.push_sql(" AS old SET ");
    push_list(out, values, |out, name| {
        out.push_sql(name);
        out.push_sql(" = new.");
        out.push_sql(name);
    });
    out.push_sql(" FROM unnest(");
}

/// The keys are said twice: by the array alone the rows are found through their key, also in a plan that was made when the
/// table was so small that going through all of it for each group seemed cheaper.
fn walk_update_by_key<'b, C: Columns>(columns: &'b C, further: &str, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
    out.push_sql(") AS new (");
    push_list(&mut out, C::NAMES, |out, name| out.push_sql(name));
    out.push_sql(further);
    for text in [") WHERE old.", C::NAMES[0], " = new.", C::NAMES[0], " AND old.", C::NAMES[0], " = ANY("] {
        out.push_sql(text);
    }
    out.push_bind_param::<Array<Text>, _>(columns.keys())?;
    out.push_sql(")");
    Ok(())
}

/// `DELETE` of the rows that have these keys.
pub(super) fn walk_delete<'b, C: Columns>(keys: &'b Vec<String>, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
    out.push_sql("DELETE FROM ");
    out.push_sql(C::TABLE);
    out.push_sql(" WHERE ");
    out.push_sql(C::NAMES[0]);
    out.push_sql(" = ANY(");
    out.push_bind_param::<Array<Text>, _>(keys)?;
    out.push_sql(")");
    Ok(())
}

impl<C: Columns> QueryFragment<Pg> for Insert<C> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        walk_insert(&self.0, out)
    }
}

impl<C: Columns> QueryFragment<Pg> for InsertMissing<C> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        walk_insert(&self.0, out.reborrow())?;
        out.push_sql(" ON CONFLICT DO NOTHING");
        Ok(())
    }
}

impl<C: Columns> QueryFragment<Pg> for Update<C> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        walk_update(&self.0, out)
    }
}

impl<C: Columns> QueryFragment<Pg> for Delete<C> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        walk_delete::<C>(&self.keys, out)
    }
}

/// A read by a list of keys.
pub(super) trait ByKeys: 'static {
    /// What its rows are made of.
    type SqlType;
    /// The text before the array of keys.
    const BEFORE: &'static str;
    /// The text after it.
    const AFTER: &'static str;
}

/// Runs [`ByKeys`].
pub(super) struct Keyed<T> {
    keys: Vec<String>,
    statement: PhantomData<T>,
}

impl<T> Keyed<T> {
    pub(super) fn new(keys: impl IntoIterator<Item = String>) -> Self {
        Self { keys: keys.into_iter().collect(), statement: PhantomData }
    }
}

impl<T: ByKeys> QueryFragment<Pg> for Keyed<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(T::BEFORE);
        out.push_bind_param::<Array<Text>, _>(&self.keys)?;
        out.push_sql(T::AFTER);
        Ok(())
    }
}

impl<T: ByKeys> Query for Keyed<T> {
    type SqlType = T::SqlType;
}

macro_rules! constant_text {
    ($($name:ident<$parameter:ident: $bound:ident>),+) => { $(
        impl<$parameter: $bound> QueryId for $name<$parameter> {
            type QueryId = Self;
            const HAS_STATIC_QUERY_ID: bool = true;
        }
        impl<$parameter> RunQueryDsl<PgConnection> for $name<$parameter> {}
    )+ };
}

constant_text!(Insert<C: Columns>, InsertMissing<C: Columns>, Update<C: Columns>, Delete<C: Columns>, Keyed<T: ByKeys>);
