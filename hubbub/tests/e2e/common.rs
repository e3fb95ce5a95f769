//! What several promises need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hubbub_client::answer::Range;
use hubbub_client::{Client, Entry, Error};
use hubbub_core::ids::{Key, RoomId, Seq};
use hubbub_testkit::checker::{Outcome, Sent};
use hubbub_testkit::{Hubbub, Person, Start, in_time};
use tokio::task::JoinHandle;

/// The program under test. Limits on how much one user may do are far away: these tests are of other promises.
pub fn program() -> Start {
    Start::program(env!("CARGO_BIN_EXE_hubbub"))
        .with("--sends-per-second=100000")
        .with("--reads-per-second=100000")
}

/// A server with the usual settings.
pub async fn server() -> Hubbub {
    Hubbub::start(program()).await.unwrap()
}

/// A room's whole log, read page by page from its begin.
pub async fn whole_log(client: &Client, room: &RoomId) -> Vec<Entry> {
    let mut log: Vec<Entry> = Vec::new();
    loop {
        let after = log.last().map_or(Seq(0), |entry| entry.seq);
        let page = client.history(room, Range::After(after), Some(1_000)).await.unwrap();
        let (empty, more) = (page.entries.is_empty(), page.more);
        log.extend(page.entries);
        if empty || !more {
            return log;
        }
    }
}

/// A room with its owner at hand.
pub struct Room {
    /// Which.
    pub id: RoomId,
    /// Who made it.
    pub owner: Client,
    /// The owner's account.
    pub ann: Person,
}

impl Room {
    /// Registers the owner and makes the room.
    pub async fn with_owner(server: &Hubbub, name: &str) -> Self {
        let ann = Person::register(server, name).await.unwrap();
        let owner = connect(&ann).await;
        let id = owner.create("the room", "").await.unwrap().id;
        Self { id, owner, ann }
    }

    /// Registers someone who joins.
    pub async fn member(&self, server: &Hubbub, name: &str) -> Person {
        let person = Person::register(server, name).await.unwrap();
        let client = connect(&person).await;
        client.join(&self.id).await.unwrap();
        client.close().await;
        person
    }

    /// Messages of the owner, acknowledged one after the other. Their seqs.
    pub async fn send_many(&self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::with_capacity(count);
        for n in 0..count {
            let sent = self.owner.send_text(&self.id, &format!("message {n}"), None).await.unwrap();
            seqs.push(sent.seq().unwrap().0);
        }
        seqs
    }

    /// The log's last seq.
    pub async fn head(&self) -> u64 {
        self.owner.open(&self.id, Some(1)).await.unwrap().room.head.unwrap().0
    }
}

/// A connection whose events nobody looks at.
pub async fn connect(person: &Person) -> Client {
    let (client, mut events) = person.connect().await.unwrap();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    client
}

/// Messages of a room's owner without a pause, until it is ended.
pub struct Load {
    over: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Vec<Sent>>>,
}

impl Load {
    /// So many senders, each waiting for its ack before the next message.
    pub async fn begin(room: &Room, senders: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let mut tasks = Vec::new();
        for sender in 0..senders {
            let (client, room, over) = (connect(&room.ann).await, room.id.clone(), over.clone());
            tasks.push(tokio::spawn(async move {
                let mut all = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    all.push(send(&client, &room, began, format!("{sender}-{}", all.len())).await);
                }
                all
            }));
        }
        Self { over, senders: tasks }
    }

    /// Stops; what was sent and became of it.
    pub async fn end(self) -> Vec<Sent> {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for sender in self.senders {
            all.append(&mut in_time("the last ack", sender).await.unwrap());
        }
        all
    }
}

/// Sends a message whose text is its key, and keeps what became of it.
pub async fn send(client: &Client, room: &RoomId, epoch: Instant, key: String) -> Sent {
    let began = epoch.elapsed();
    let answer = client.send_text(room, &key, Some(&Key::parse(&key).unwrap())).await;
    let outcome = match answer {
        Ok(sent) => Outcome::Acked { seq: sent.seq().unwrap().0, at: epoch.elapsed() },
        Err(error) if error.is_outcome_unknown() => Outcome::Unknown,
        Err(Error::Refused(_)) => Outcome::Refused,
        Err(error) => panic!("{error}"),
    };
    Sent { text: key.clone(), key, began, outcome }
}
