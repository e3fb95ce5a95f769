//! Conditional statements: whether they were applied, and what they found.
//!
//! Cassandra answers one column where the condition held, and the columns it was about where not; ScyllaDB always answers the whole row
//! as it was. So columns are found by their names, and nothing is expected of how many there are.

use hubbub_core::ports::store::Stored;
use scylla::client::session::Session;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};

use super::failure::{damaged, unavailable};

/// What a conditional statement did.
pub(super) struct Decided {
    /// Whether its condition held, and it was done.
    pub(super) applied: bool,
    found: Vec<(String, Option<CqlValue>)>,
}

impl Decided {
    /// The value of a column as it was before.
    pub(super) fn found(&self, column: &str) -> Option<&CqlValue> {
        self.found.iter().find(|(name, _)| name == column)?.1.as_ref()
    }
}

/// Runs one.
pub(super) async fn run(
    session: &Session,
    statement: &PreparedStatement,
    values: impl SerializeRow,
) -> Stored<Decided> {
    let result = session.execute_unpaged(statement, values).await.map_err(unavailable)?;
    decided(result)
}

fn decided(result: QueryResult) -> Stored<Decided> {
    let rows = result.into_rows_result().map_err(unavailable)?;
    let names: Vec<_> = rows.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let row = rows.first_row::<Row>().map_err(unavailable)?;
    let found: Vec<_> = names.into_iter().zip(row.columns).collect();
    let mut decided = Decided { applied: false, found };
    match decided.found("[applied]") {
        Some(CqlValue::Boolean(applied)) => decided.applied = *applied,
        _ => return Err(damaged("a conditional statement's answer does not say whether it was applied")),
    }
    Ok(decided)
}
