//! Those who send and those who read, over connections that come back by themselves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hubbub_client::{Client, Error, Event, Events};
use hubbub_core::ids::{Key, RoomId};
use hubbub_testkit::checker::{Outcome, Reader, Sent};
use hubbub_testkit::{Pages, Streams};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::verdict::Outage;

/// What one who reads pages waits between two: far less than a user may read.
const PAGE_EVERY: Duration = Duration::from_millis(200);

/// What all share.
pub(super) struct Run {
    pub rooms: Vec<RoomId>,
    /// Frames that no client can read, and other breaches that only a connection sees.
    pub unreadable: RefCell<Vec<String>>,
    outages: RefCell<Vec<Outage>>,
    began: Cell<Instant>,
    /// How long it is sent.
    time: Cell<Duration>,
    asked: Cell<u64>,
    acked: Cell<u64>,
    refused: Cell<u64>,
    unknown: Cell<u64>,
    /// Who has no connection, since when, and why it ended.
    away: RefCell<BTreeMap<String, (Duration, String)>>,
    stop: watch::Sender<bool>,
    started: watch::Sender<bool>,
}

/// One who sends.
pub(super) struct Sender {
    pub name: String,
    /// Which of them: it begins with another room than the one before.
    pub number: usize,
    pub client: Client,
    /// Between two messages.
    pub every: Duration,
    /// How long an answer may take.
    pub patience: Duration,
}

/// What a sender was told.
#[derive(Default)]
pub(super) struct Told {
    pub sent: Vec<(RoomId, Sent)>,
    /// Messages that were due in the time; of those that were not sent the sender waited for another one's answer.
    pub due: u64,
    /// What was refused for good, by the server's word for it.
    pub refused: BTreeMap<String, u64>,
    /// Of a message that was sent again after its acknowledgement: where it was first, and where it is said to be now.
    pub repeats_that_differ: Vec<(String, u64, u64)>,
}

impl Run {
    pub fn new(rooms: Vec<RoomId>, time: Duration) -> Self {
        Self {
            rooms,
            time: Cell::new(time),
            unreadable: RefCell::default(),
            outages: RefCell::default(),
            began: Cell::new(Instant::now()),
            asked: Cell::new(0),
            acked: Cell::new(0),
            refused: Cell::new(0),
            unknown: Cell::new(0),
            away: RefCell::default(),
            stop: watch::Sender::new(false),
            started: watch::Sender::new(false),
        }
    }

    /// Everybody is there: it begins now.
    pub fn begin(&self) {
        self.began.set(Instant::now());
        self.started.send_replace(true);
    }

    pub fn elapsed(&self) -> Duration {
        self.began.get().elapsed()
    }

    /// Whether nobody sends any more.
    pub fn is_over(&self) -> bool {
        self.elapsed() >= self.time.get()
    }

    /// Nobody sends from here on.
    pub fn end_now(&self) {
        self.time.set(self.time.get().min(self.elapsed()));
    }

    /// Readers end when this is over, wherever they are.
    pub fn stop_after(self: &Rc<Self>, patience: Duration) -> JoinHandle<()> {
        let run = Rc::clone(self);
        tokio::task::spawn_local(async move {
            sleep(patience).await;
            run.stop.send_replace(true);
        })
    }

    /// How it goes.
    pub fn progress(&self) -> String {
        let (acked, refused, away) = (self.acked.get(), self.refused.get(), self.away.borrow().len());
        format!(
            "{:.0} of {} s: {acked} acknowledged, {refused} refused, {} under way, {away} away, {} outages so far",
            self.elapsed().as_secs_f64(),
            self.time.get().as_secs(),
            self.asked.get() - acked - refused - self.unknown.get(),
            self.outages.borrow().len()
        )
    }

    /// Notes when somebody goes and comes back.
    fn note(&self, who: &str, event: &Event) {
        match event {
            Event::Disconnected(lost) => {
                let since = || (self.elapsed(), lost.reason.clone());
                self.away.borrow_mut().entry(who.to_owned()).or_insert_with(since);
            }
            Event::Connected(_) => {
                if let Some((from, why)) = self.away.borrow_mut().remove(who) {
                    let (from, to) = (from.as_secs_f64(), Some(self.elapsed().as_secs_f64()));
                    self.outages.borrow_mut().push(Outage { who: who.to_owned(), from, to, why });
                }
            }
            // A gap and a repeat are in the reader's stream, where the checker finds them.
            Event::Violation(hubbub_client::Violation::Unreadable { frame, why }) => {
                self.unreadable.borrow_mut().push(format!("{who}: {why}: {frame}"));
            }
            _ => {}
        }
    }

    /// Every time without a connection, those that did not end too.
    pub fn take_outages(&self) -> Vec<Outage> {
        let mut outages = self.outages.take();
        let lasting = self.away.take().into_iter();
        outages.extend(lasting.map(|(who, (from, why))| Outage {
            who,
            from: from.as_secs_f64(),
            to: None,
            why,
        }));
        outages.sort_by(|one, other| one.from.total_cmp(&other.from));
        outages
    }
}

/// Sends a message each time that one is due, and each until there is an answer.
pub(super) async fn send(sender: Sender, run: Rc<Run>) -> Told {
    let Sender { name, number, client, every, patience } = sender;
    // Whoever never begins has nothing to send.
    let _ = run.started.subscribe().wait_for(|started| *started).await;
    let mut told = Told::default();
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for n in 0_usize.. {
        due.tick().await;
        if run.is_over() {
            break;
        }
        let room = &run.rooms[(number + n) % run.rooms.len()];
        run.asked.set(run.asked.get() + 1);
        let (sent, refused) = send_one(&client, room, (&run, patience), format!("{name}-{n}")).await;
        let outcome = match sent.outcome {
            Outcome::Acked { .. } => &run.acked,
            Outcome::Refused => &run.refused,
            Outcome::Unknown => &run.unknown,
        };
        outcome.set(outcome.get() + 1);
        told.sent.push((room.clone(), sent));
        if let Some(word) = refused {
            *told.refused.entry(word).or_default() += 1;
        }
    }
    told.due = (run.time.get().as_secs_f64() / every.as_secs_f64()).ceil().max(told.sent.len() as f64) as u64;
    // The last one of each room again: it must be the same entry, and the log must not have it twice.
    let last: BTreeMap<RoomId, Sent> = told.sent.iter().cloned().collect();
    for (room, sent) in last {
        let Outcome::Acked { seq, .. } = sent.outcome else { continue };
        let (repeat, _) = send_one(&client, &room, (&run, patience), sent.key.clone()).await;
        if let Outcome::Acked { seq: again, .. } = repeat.outcome
            && again != seq
        {
            told.repeats_that_differ.push((sent.key, seq, again));
        }
    }
    told
}

/// Sends a message whose text is its key. While the answer is that it can't be done just now, it is sent again with its key.
/// Of a refusal the server's word for it comes with it.
async fn send_one(
    client: &Client,
    room: &RoomId,
    (run, patience): (&Run, Duration),
    key: String,
) -> (Sent, Option<String>) {
    let began = run.elapsed();
    let sent = |outcome| Sent { text: key.clone(), key: key.clone(), began, outcome };
    let Ok(parsed) = Key::parse(&key) else { return (sent(Outcome::Refused), None) };
    loop {
        match client.send_text(room, &key, Some(&parsed)).await {
            Ok(answer) => {
                let seq = answer.seq().map_or(0, |seq| seq.0);
                return (sent(Outcome::Acked { seq, at: run.elapsed() }), None);
            }
            Err(Error::Refused(refusal)) => {
                if !refusal.known_code().is_some_and(|code| code.retry()) {
                    return (sent(Outcome::Refused), Some(refusal.code));
                }
                // Whether it was done is not known, and may stay so.
                if run.elapsed() > began + patience {
                    return (sent(Outcome::Unknown), None);
                }
                sleep(refusal.retry_after().unwrap_or(Duration::from_millis(100))).await;
            }
            Err(_) => return (sent(Outcome::Unknown), None),
        }
    }
}

/// Reads pages as long as it is sent, of one room after the other, each on from the last one. What can't be read is read later.
pub(super) async fn read_pages(name: String, client: Client, run: Rc<Run>) -> BTreeMap<RoomId, Reader> {
    let _ = run.started.subscribe().wait_for(|started| *started).await;
    let mut pages: BTreeMap<_, _> = run.rooms.iter().map(|room| (room, Pages::of(&name))).collect();
    let mut ticks = interval(PAGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    'reading: loop {
        for (room, read) in &mut pages {
            ticks.tick().await;
            if run.is_over() {
                break 'reading;
            }
            // It may be that there is no answer just now.
            let _ = read.read_on(&client, room, || run.elapsed()).await;
        }
    }
    pages.into_iter().map(|(room, pages)| (room.clone(), pages.end())).collect()
}

/// Where every room's log ends, once that is known.
pub(super) type Heads = watch::Receiver<Option<BTreeMap<RoomId, u64>>>;

/// Who it was, and what came to them of each room.
pub(super) type Followed = (String, BTreeMap<RoomId, Reader>);

/// Takes what comes, from the own joins on, until every room's head was seen or it must stop.
pub(super) async fn follow(name: String, mut events: Events, run: Rc<Run>, mut heads: Heads) -> Followed {
    let mut streams = Streams::default();
    let mut stop = run.stop.subscribe();
    loop {
        if heads.borrow().as_ref().is_some_and(|heads| streams.has_seen(heads)) {
            break;
        }
        let event = tokio::select! {
            changed = heads.changed() => if changed.is_err() { break } else { continue },
            _ = stop.changed() => break,
            event = events.next() => event,
        };
        let Some(event) = event else { break };
        run.note(&name, &event);
        streams.hear(&event);
    }
    (name, streams.end(&run.rooms))
}
