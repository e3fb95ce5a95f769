//! ScyllaDB's tablets. Before 2025.4 it takes no conditional statement where a keyspace has them, and a new keyspace has them unless it
//! is told not to. Cassandra knows no such option, and refuses it.

use hubbub_core::ports::store::Stored;
use scylla::client::session::Session;
use scylla::value::{CqlValue, Row};

use super::failure::{damaged, unavailable};

/// Whether the keyspace must be without tablets: whether the database has them, and no conditional statements with them.
pub(super) async fn are_in_the_way(session: &Session) -> Stored<bool> {
    // All columns, for only ScyllaDB has the one with what it can.
    let local = session.query_unpaged("SELECT * FROM system.local WHERE key = 'local'", ()).await;
    let rows = local.map_err(unavailable)?.into_rows_result().map_err(unavailable)?;
    let column = rows.column_specs().iter().position(|column| column.name() == "supported_features");
    let Some(column) = column else { return Ok(false) };
    let row = rows.first_row::<Row>().map_err(damaged)?;
    Ok(match row.columns.get(column) {
        Some(Some(CqlValue::Text(features))) => without_conditions(features),
        _ => false,
    })
}

fn without_conditions(features: &str) -> bool {
    let has = |wanted: &str| features.split(',').any(|feature| feature.trim() == wanted);
    has("TABLETS") && !has("LWT_WITH_TABLETS")
}

/// Whether this keyspace of a ScyllaDB has tablets.
pub(super) async fn has(session: &Session, keyspace: &str) -> Stored<bool> {
    let tablets = "SELECT initial_tablets FROM system_schema.scylla_keyspaces WHERE keyspace_name = ?";
    let found = session.query_unpaged(tablets, (keyspace,)).await.map_err(unavailable)?;
    let rows = found.into_rows_result().map_err(unavailable)?;
    Ok(matches!(rows.maybe_first_row::<(Option<i32>,)>().map_err(damaged)?, Some((Some(_),))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tablets_are_in_the_way_where_they_take_no_conditions() {
        assert!(!without_conditions("LWT,CDC"), "none");
        assert!(without_conditions("LWT,TABLETS,CDC"));
        assert!(!without_conditions("LWT,TABLETS,LWT_WITH_TABLETS,CDC"), "they take them");
    }
}
