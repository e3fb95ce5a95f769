//! What each process says of itself for operators, and what they may want of it.

use std::cmp::Reverse;
use std::net::IpAddr;

use hubbub_core::ids::{Millis, NodeId, UserId};
use serde::{Deserialize, Serialize};

/// Time between two reports of a process, in milliseconds.
pub const REPORT_EVERY_MS: u64 = 1_000;

/// Most connections of one answer.
pub const CONNECTIONS_MAX: usize = 1_000;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything in one.
    AllInOne,
    /// Holds sockets.
    Gateway,
    /// Writes rooms.
    RoomWorker,
    /// Answers reads.
    HistoryService,
    /// Between chat and bots.
    BotBridge,
}

impl Role {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllInOne => "all-in-one",
            Self::Gateway => "gateway",
            Self::RoomWorker => "room-worker",
            Self::HistoryService => "history-service",
            Self::BotBridge => "bot-bridge",
        }
    }
}

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It works.
    Ready,
    /// It waits for something that it can't work without.
    NotReady,
    /// It was told to end, and lets go what it has.
    Draining,
    /// It ended in order: the last word.
    Left,
}

/// A process as it sees itself, said every [`REPORT_EVERY_MS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which one: another at each start.
    pub node: NodeId,
    /// What it is.
    pub role: Role,
    /// The machine or pod that it runs on.
    pub host: String,
    /// Where it listens.
    pub address: String,
    /// Which build it is.
    pub version: String,
    /// When it began.
    pub since: Millis,
    /// How it is.
    pub condition: Condition,
    /// What is not well: a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<String>,
    /// How many connections of clients it holds, if it is one that may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
}

/// What is wanted of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskAgent {
    /// Begin what SIGTERM begins.
    Drain,
    /// Which connections of clients do you hold?
    Connections(Which),
}

/// Which connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those that something waits for, or that are behind; and those that were closed for it of late.
    pub slow: bool,
    /// At most so many, those first that most waits for: up to [`CONNECTIONS_MAX`].
    pub limit: usize,
}

/// The answer of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToldAgent {
    /// It drains from now on.
    Draining,
    /// Its connections.
    Connections {
        /// Those that most waits for come first.
        connections: Vec<Held>,
        /// Whether there are more of the kind that was asked for.
        more: bool,
    },
    /// It holds no connections of clients.
    NoGateway,
}

/// A connection of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whose, once they said hello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// From where.
    pub address: IpAddr,
    /// `websocket`, `socket.io` or `socket.io-polling`.
    pub kind: String,
    /// Bytes that wait to be written to it.
    pub waiting_bytes: usize,
    /// For how many seconds it has been behind without a pause: entries were dropped that it has to read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_seconds: Option<u32>,
    /// How many rooms it receives.
    pub rooms: usize,
    /// How many seconds ago it opened.
    pub open_seconds: u32,
    /// For how many seconds nothing was heard of it.
    pub silent_seconds: u32,
    /// How many seconds ago it was closed because it read too slowly. Then it is not there any more, and the rest is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_seconds: Option<u32>,
}

impl Held {
    /// Its place in a list: those that are there first, and of them those that most waits for.
    pub fn place(&self) -> impl Ord + use<> {
        (self.closed_seconds, Reverse(self.waiting_bytes))
    }
}
