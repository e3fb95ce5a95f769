//! The tables. Their page is `docs/store-format.md`: change both together, and the version.

/// Version of the layout of tables and of what is in them. Kept in the file as `user_version`.
pub(super) const VERSION: i32 = 6;

/// Says that a SQLite file is a store of ours: "HbSt".
pub(super) const APPLICATION_ID: i32 = 0x4862_5374;

/// What makes a store of version 1 one of version 2, and so on, in turn.
pub(super) const STEPS: [&str; (VERSION - 1) as usize] = [
    "
CREATE TABLE ban (
    user   TEXT NOT NULL PRIMARY KEY,
    at     INTEGER NOT NULL,
    by     TEXT NOT NULL,
    reason TEXT NOT NULL,
    sum    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE forgot (
    room   TEXT NOT NULL PRIMARY KEY,
    erased INTEGER NOT NULL,
    sum    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX departed_by_user ON departed (user, room);
",
    "
CREATE TABLE kept (
    room    TEXT NOT NULL PRIMARY KEY,
    said    INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    entries INTEGER,
    days    INTEGER,
    trimmed INTEGER NOT NULL,
    sum     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
",
    // And a row of `entry` may have several, and one of `journal` a part of a record. Those that are there stay as they are.
    "ALTER TABLE journal RENAME COLUMN no TO slot",
    "
CREATE TABLE revoked (
    token BLOB NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL,
    sum   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_by_end ON revoked (until);
",
];

/// Makes an empty store, of version 1: what came since follows.
pub(super) const CREATE: &str = "
CREATE TABLE fact (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL,
    sum   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE fence (
    partition INTEGER PRIMARY KEY,
    epoch     INTEGER NOT NULL,
    sum       INTEGER NOT NULL
) STRICT;

CREATE TABLE segment (
    room  TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    start INTEGER NOT NULL,
    prev  INTEGER,
    sum   INTEGER NOT NULL,
    PRIMARY KEY (room, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE place (
    no    INTEGER PRIMARY KEY,
    room  TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    sum   INTEGER NOT NULL,
    UNIQUE (room, epoch)
) STRICT;

CREATE TABLE journal (
    no    INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE entry (
    id    INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE room (
    room         TEXT NOT NULL PRIMARY KEY,
    name         TEXT,
    topic        TEXT,
    owner        TEXT,
    facts_seq    INTEGER NOT NULL,
    created_at   INTEGER,
    member_count INTEGER NOT NULL,
    mark         INTEGER NOT NULL,
    mark_at      INTEGER NOT NULL,
    sum          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX room_by_age ON room (created_at, room);

CREATE TABLE member (
    room   TEXT NOT NULL,
    user   TEXT NOT NULL,
    name   TEXT NOT NULL,
    joined INTEGER NOT NULL,
    sum    INTEGER NOT NULL,
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_by_user ON member (user, room);

CREATE TABLE departed (
    room TEXT NOT NULL,
    user TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    sum  INTEGER NOT NULL,
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    id            TEXT NOT NULL PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    sum           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE secret (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL,
    sum   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";
