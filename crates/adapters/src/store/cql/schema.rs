//! The tables, and their version.
//!
//! Everything is made `IF NOT EXISTS`, so any number of nodes may do it at once and again. On a Cassandra of several nodes, make
//! the schema once before the first start (`hubbub schema`): two of its nodes that make one table at the same time disagree on its id.

use std::sync::atomic::Ordering;

use hubbub_core::ports::store::Stored;
use scylla::client::session::Session;

use super::failure::{CqlOpenError, damaged, unavailable};
use super::{Db, accounts, lwt};

/// What the layout's number is kept as.
pub(super) const LAYOUT: &str = "schema";

/// Version of the layout below. A later one is made from it by statements that come after those of this one.
pub(super) const VERSION: u32 = 1;

/// The version from the first erased message on: the tables are those of [`VERSION`], but there are entries in them that a program from
/// before can't read. Until then such a program may still be started, and so an update be taken back.
pub(super) const VERSION_WITH_ERASED: u32 = 2;

/// The version from the first entry on that says what is kept, for the same reason.
pub(super) const VERSION_WITH_RETENTION: u32 = 3;

/// Entries of one epoch of a room that share a partition of the database: a few MiB of text.
pub(super) const BUCKET_SEQS: u64 = 5_000;

/// Rooms of so many milliseconds share a partition of the directory: 30 days.
pub(super) const PERIOD_MS: u64 = 30 * 24 * 3_600 * 1_000;

const TABLES: [&str; 17] = [
    // What is the same for every node: the log's id, the number of partitions, keys that sign tokens.
    "CREATE TABLE IF NOT EXISTS ks.shared (name text PRIMARY KEY, value blob)",
    // Written by nobody who minds: whether a write can be had at all.
    "CREATE TABLE IF NOT EXISTS ks.probe (id int PRIMARY KEY, at bigint)",
    "CREATE TABLE IF NOT EXISTS ks.fence (partition int PRIMARY KEY, epoch bigint, nonce uuid)",
    "CREATE TABLE IF NOT EXISTS ks.segment (room text, epoch bigint, start bigint, prev bigint, PRIMARY KEY (room, epoch))",
    "CREATE TABLE IF NOT EXISTS ks.entry (room text, epoch bigint, bucket bigint, seq bigint, bytes blob, \
     PRIMARY KEY ((room, epoch, bucket), seq))",
    // The projections. Nothing is ever deleted from them, for a deletion is forgotten after a while and an older write
    // that comes later would be back: who left has a row that says so.
    "CREATE TABLE IF NOT EXISTS ks.room (room text PRIMARY KEY, facts text, created_at bigint, member_count bigint, \
     mark bigint, mark_at bigint)",
    "CREATE TABLE IF NOT EXISTS ks.member (room text, user text, name text, seq bigint, member boolean, PRIMARY KEY (room, user))",
    "CREATE TABLE IF NOT EXISTS ks.joined_room (user text, room text, seq bigint, member boolean, PRIMARY KEY (user, room))",
    "CREATE TABLE IF NOT EXISTS ks.directory (period bigint, created_at bigint, room text, PRIMARY KEY (period, created_at, room)) \
     WITH CLUSTERING ORDER BY (created_at DESC, room DESC)",
    "CREATE TABLE IF NOT EXISTS ks.directory_period (directory int, period bigint, PRIMARY KEY (directory, period)) \
     WITH CLUSTERING ORDER BY (period DESC)",
    // What a room's log has forgotten.
    "CREATE TABLE IF NOT EXISTS ks.forgot (room text PRIMARY KEY, erased bigint)",
    // What is kept of it (`newest` is how many entries: ENTRIES is a word of CQL), and how far the rest is gone.
    "CREATE TABLE IF NOT EXISTS ks.kept (room text PRIMARY KEY, said bigint, first bigint, newest bigint, days int, trimmed bigint)",
    "CREATE TABLE IF NOT EXISTS ks.account (email text PRIMARY KEY, id text, name text, password_hash text, created_at bigint)",
    // Who has which id: an account has two names that must both be free.
    "CREATE TABLE IF NOT EXISTS ks.account_id (id text PRIMARY KEY, email text)",
    // All in one partition, which each gateway reads whole. As with the projections, a lifted ban has a row that says so.
    "CREATE TABLE IF NOT EXISTS ks.ban (list int, user text, banned boolean, at bigint, banned_by text, reason text, \
     PRIMARY KEY (list, user))",
    "CREATE TABLE IF NOT EXISTS ks.revoked (week bigint, until bigint, id blob, PRIMARY KEY (week, until, id))",
    "CREATE TABLE IF NOT EXISTS ks.revoked_of_late (hour bigint, at bigint, id blob, until bigint, PRIMARY KEY (hour, at, id))",
];

/// Whether a cluster ever began with this keyspace: whether there is a row of what its nodes share.
pub(super) async fn has_begun(session: &Session, keyspace: &str) -> Stored<bool> {
    let table =
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'shared'";
    let tables = session.query_unpaged(table, (keyspace,)).await.map_err(unavailable)?;
    if tables.into_rows_result().map_err(unavailable)?.rows_num() == 0 {
        return Ok(false);
    }
    let row = format!("SELECT name FROM \"{keyspace}\".shared LIMIT 1");
    let rows = session.query_unpaged(row, ()).await.map_err(unavailable)?;
    Ok(rows.into_rows_result().map_err(unavailable)?.rows_num() > 0)
}

/// Makes the keyspace, if it is not there, with so many replicas in each datacenter; for a database that knows tablets, without them.
pub(super) async fn make_keyspace(
    session: &Session,
    keyspace: &str,
    replication: u8,
    without_tablets: bool,
) -> Stored<()> {
    let tablets = if without_tablets { " AND tablets = {'enabled': false}" } else { "" };
    let statement = format!(
        "CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication = \
         {{'class': 'NetworkTopologyStrategy', 'replication_factor': {replication}}}{tablets}"
    );
    session.query_unpaged(statement, ()).await.map(drop).map_err(unavailable)
}

/// Makes the tables that are not there.
pub(super) async fn make_tables(session: &Session, keyspace: &str) -> Stored<()> {
    for statement in TABLES {
        let statement = statement.replace(" ks.", &format!(" \"{keyspace}\"."));
        session.query_unpaged(statement, ()).await.map_err(unavailable)?;
    }
    Ok(())
}

/// Whether this program knows the layout that it found.
pub(super) fn check_version(found: &[u8]) -> Result<(), CqlOpenError> {
    match number(found)? {
        VERSION..=VERSION_WITH_RETENTION => Ok(()),
        found => Err(CqlOpenError::Newer { found, known: VERSION_WITH_RETENTION }),
    }
}

fn number(found: &[u8]) -> Stored<u32> {
    let number = <[u8; 4]>::try_from(found).map(u32::from_be_bytes);
    number.map_err(|_| damaged("the keyspace's layout has no number"))
}

/// Says, before it is so, that the keyspace has this layout or a later one. Asks the database only the first time.
pub(super) async fn raise(db: &Db, layout: u32) -> Stored<()> {
    while db.layout.load(Ordering::Relaxed) < layout {
        let found = accounts::shared(db, LAYOUT, VERSION.to_be_bytes().to_vec()).await?;
        let known = number(&found)?;
        if known < layout {
            let raised = (layout.to_be_bytes().to_vec(), LAYOUT, found);
            // Another may have raised it meanwhile, to this or a later one.
            lwt::run(&db.session, &db.statements.raise_shared, raised).await?;
        } else {
            db.layout.fetch_max(known, Ordering::Relaxed);
        }
    }
    Ok(())
}
