//! The statements, prepared once. All but the conditional ones may be repeated without harm, and say so to the driver.

use hubbub_core::ports::store::Stored;
use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;

use super::failure::unavailable;

/// Whether a statement may be sent again when its answer is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Harmless,
    /// Conditional: the second would be told of the first.
    Tells,
    /// A read that first ends what conditional writes left open.
    Serial,
}

macro_rules! statements {
    ($($(#[doc = $doc:literal])* $name:ident: $repeat:ident = $text:expr;)*) => {
        /// All statements.
        pub(super) struct Statements {
            $($(#[doc = $doc])* pub(super) $name: PreparedStatement,)*
        }

        impl Statements {
            /// Prepares them.
            pub(super) async fn prepare(session: &Session, keyspace: &str) -> Stored<Self> {
                Ok(Self { $($name: prepare(session, keyspace, $text, Repeat::$repeat).await?,)* })
            }
        }
    };
}

statements! {
    shared: Harmless = "SELECT value FROM ks.shared WHERE name = ?";
    put_shared: Tells = "INSERT INTO ks.shared (name, value) VALUES (?, ?) IF NOT EXISTS";
    /// Harmless but conditional, for what is shared was put so.
    change_shared: Harmless = "UPDATE ks.shared SET value = ? WHERE name = ? IF EXISTS";
    raise_shared: Tells = "UPDATE ks.shared SET value = ? WHERE name = ? IF value = ?";
    probe: Harmless = "INSERT INTO ks.probe (id, at) VALUES (0, ?)";
    fence: Harmless = "SELECT epoch FROM ks.fence WHERE partition = ?";
    /// The fence with all claims that were begun.
    fence_settled: Serial = "SELECT epoch FROM ks.fence WHERE partition = ?";
    claim_first: Tells = "INSERT INTO ks.fence (partition, epoch, nonce) VALUES (?, 1, ?) IF NOT EXISTS";
    claim: Tells = "UPDATE ks.fence SET epoch = ?, nonce = ? WHERE partition = ? IF epoch = ?";
    segments: Harmless = "SELECT epoch, start, prev FROM ks.segment WHERE room = ?";
    put_segment: Harmless = "INSERT INTO ks.segment (room, epoch, start, prev) VALUES (?, ?, ?, ?)";
    /// With a time before all others: however late it comes again, what was erased since is newer.
    append: Harmless = "INSERT INTO ks.entry (room, epoch, bucket, seq, bytes) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP 1";
    /// With the time of day.
    erase: Harmless = "INSERT INTO ks.entry (room, epoch, bucket, seq, bytes) VALUES (?, ?, ?, ?, ?)";
    /// With the time of day, as the next: later than that of any entry.
    bar: Harmless = "DELETE FROM ks.entry WHERE room = ? AND epoch = ? AND bucket = ? AND seq >= ?";
    trim: Harmless = "DELETE FROM ks.entry WHERE room = ? AND epoch = ? AND bucket = ? AND seq >= ? AND seq < ?";
    put_trimmed: Harmless = "UPDATE ks.kept USING TIMESTAMP ? SET trimmed = ? WHERE room = ?";
    put_kept: Harmless = "UPDATE ks.kept USING TIMESTAMP ? SET said = ?, first = ?, newest = ?, days = ? WHERE room = ?";
    kept: Harmless = "SELECT said, first, newest, days, trimmed FROM ks.kept WHERE room = ?";
    kept_rooms: Harmless = "SELECT room, first, newest, days, trimmed FROM ks.kept";
    kept_rooms_after: Harmless = "SELECT room, first, newest, days, trimmed FROM ks.kept WHERE token(room) > token(?)";
    read: Harmless = "SELECT seq, bytes FROM ks.entry WHERE room = ? AND epoch = ? AND bucket = ? AND seq >= ? AND seq <= ?";
    put_room: Harmless = "UPDATE ks.room USING TIMESTAMP ? SET member_count = ?, mark = ?, mark_at = ? WHERE room = ?";
    put_facts: Harmless = "UPDATE ks.room USING TIMESTAMP ? SET facts = ? WHERE room = ?";
    put_forgot: Harmless = "UPDATE ks.forgot USING TIMESTAMP ? SET erased = ? WHERE room = ?";
    put_created: Harmless = "UPDATE ks.room USING TIMESTAMP ? SET created_at = ? WHERE room = ?";
    put_member: Harmless = "INSERT INTO ks.member (room, user, name, seq, member) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    put_joined: Harmless = "INSERT INTO ks.joined_room (user, room, seq, member) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    put_directory: Harmless = "INSERT INTO ks.directory (period, created_at, room) VALUES (?, ?, ?)";
    put_period: Harmless = "INSERT INTO ks.directory_period (directory, period) VALUES (0, ?)";
    room: Harmless = "SELECT facts, created_at, member_count, mark, mark_at FROM ks.room WHERE room = ?";
    forgot: Harmless = "SELECT erased FROM ks.forgot WHERE room = ?";
    members: Harmless = "SELECT user, name, seq, member FROM ks.member WHERE room = ? AND user > ?";
    rooms_of: Harmless = "SELECT room, seq, member FROM ks.joined_room WHERE user = ? AND room > ?";
    periods: Harmless = "SELECT period FROM ks.directory_period WHERE directory = 0 AND period <= ?";
    directory: Harmless = "SELECT created_at, room FROM ks.directory WHERE period = ? AND (created_at, room) < (?, ?)";
    directory_all: Harmless = "SELECT created_at, room FROM ks.directory WHERE period = ?";
    account: Harmless = "SELECT id, name, password_hash, created_at FROM ks.account WHERE email = ?";
    put_account: Tells = "INSERT INTO ks.account (email, id, name, password_hash, created_at) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS";
    take_account_id: Tells = "INSERT INTO ks.account_id (id, email) VALUES (?, ?) IF NOT EXISTS";
    put_ban: Harmless = "INSERT INTO ks.ban (list, user, banned, at, banned_by, reason) VALUES (0, ?, true, ?, ?, ?)";
    lift_ban: Harmless = "INSERT INTO ks.ban (list, user, banned) VALUES (0, ?, false)";
    bans: Harmless = "SELECT user, banned, at, banned_by, reason FROM ks.ban WHERE list = 0";
    put_revoked: Harmless = "INSERT INTO ks.revoked (week, until, id) VALUES (?, ?, ?) USING TTL ?";
    put_revoked_of_late: Harmless = "INSERT INTO ks.revoked_of_late (hour, at, id, until) VALUES (?, ?, ?, ?) USING TTL ?";
    revoked: Harmless = "SELECT id, until FROM ks.revoked WHERE week = ? AND until > ?";
    revoked_of_late: Harmless = "SELECT id, until FROM ks.revoked_of_late WHERE hour = ? AND at >= ?";
    give_account_id_back: Tells = "DELETE FROM ks.account_id WHERE id = ? IF email = ?";
}

/// `ks` stands for the keyspace: a session that has one of its own would be warned of at each statement.
async fn prepare(session: &Session, keyspace: &str, text: &str, repeat: Repeat) -> Stored<PreparedStatement> {
    let mut statement =
        session.prepare(text.replace(" ks.", &format!(" \"{keyspace}\"."))).await.map_err(unavailable)?;
    statement.set_is_idempotent(repeat != Repeat::Tells);
    if repeat == Repeat::Serial {
        statement.set_consistency(Consistency::Serial);
    }
    Ok(statement)
}
