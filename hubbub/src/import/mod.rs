//! `hubbub import`: the chatrooms and messages of the server that this one replaces, from its MongoDB into a store.
//!
//! In reading order: the `seed`'s documents, as `lines` and `extended_json` bring them; `sorted` by room and time, for rooms are
//! written one after the other; a `survey` of each room; its entries that are missing are written (`write`), then all of it is
//! read back (`check`), both by going through log and file side by side (`walk`).
//!
//! An import that was stopped is begun again from the files' begin: what is in the store is found there, by the key that each
//! imported entry has, and is not written twice.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use hubbub_adapters::store::{CqlStore, EmbeddedStore, OpenError as StoreOpenError, Options};
use hubbub_core::ids::{Partition, Partitions};
use hubbub_core::ports::store::Store;
use hubbub_node::telemetry::Metrics;
use hubbub_room_worker::OpenError;
use hubbub_room_worker::offline::Claim;
use tokio_util::sync::CancellationToken;

use crate::process::{WrongSettings, say};
use crate::settings::ImportSettings;
use crate::{all_in_one, cluster};

mod check;
mod extended_json;
mod lines;
mod report;
mod seed;
mod sorted;
mod survey;
mod walk;
mod write;

use lines::Lines;
use report::{Report, grouped};
use seed::{Chatroom, Document, Message};
use sorted::{Sorted, Sorter};
use survey::Survey;
use write::{Names, Written};

const DATA_DEFAULT: &str = "./hubbub-data";
/// Lines between two looks at whether the process is to end.
const PAUSE_EVERY: u64 = 1_000;

/// Imports, checks, and says how it went.
///
/// # Errors
/// When files or store can't be had, a line is refused and none may be, or the check found a difference.
pub async fn run(
    settings: ImportSettings,
    _metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let imported = shutdown.run_until_cancelled(Box::pin(import(&settings))).await;
    imported.context("stopped before its end; the same command again goes on from here")?
}

async fn import(settings: &ImportSettings) -> anyhow::Result<()> {
    let (Some(chatrooms), Some(messages)) = (&settings.chatrooms, &settings.messages) else {
        let both = "--chatrooms and --messages name the files of mongoexport; both are needed";
        return Err(WrongSettings(both.into()).into());
    };
    let (mut chatrooms, mut messages) = (Lines::open(chatrooms)?, Lines::open(messages)?);
    let mut report = Report::new(settings.strict, chatrooms.name().into(), messages.name().into());
    let mut target = Target::open(settings).await?;
    let names = match &settings.users {
        Some(users) => read_names(&mut Lines::open(users)?, &mut report).await?,
        None => Names::new(),
    };
    let mut sorter = Sorter::new(&target.scratch)?;
    read_rooms(&mut chatrooms, &mut sorter, &mut report).await?;
    read_messages(&mut messages, &mut sorter, &mut report).await?;
    let mut sorted = sorter.sorted()?;
    let begin = sorted.mark();

    report.begin("writing");
    let (mut rooms, mut written) = (0, Written::default());
    while let Some(survey) = Survey::next(&mut sorted, &mut report).await? {
        let claim = target.claim(&survey).await?;
        let of_room = write::write(&target.store, claim, &survey, &names, &mut sorted, &mut report).await;
        let of_room = of_room.map_err(|error| target.explained(error))?;
        (rooms, written.now, written.before) =
            (rooms + 1, written.now + of_room.now, written.before + of_room.before);
    }
    let refused = report.refused;

    report.begin("checking");
    sorted.rewind(&begin)?;
    verify(&mut sorted, &mut report, &*target.store).await?;
    report.end();
    say(format_args!(
        "imported {} rooms and {} messages, {} of them by an earlier run; lines not taken: {}\n",
        grouped(rooms),
        grouped(written.now + written.before),
        grouped(written.before),
        grouped(refused)
    ));
    anyhow::ensure!(
        report.differences == 0,
        "the check found {} differences between the files and the store",
        grouped(report.differences)
    );
    anyhow::ensure!(rooms > 0, "no room was taken from {}", report.chatrooms);
    say(
        "checked: every room was read back; counts, order, ids, authors, times and members are those of the lines that were taken\n",
    );
    Ok(())
}

/// Reads every room back.
async fn verify(sorted: &mut Sorted, report: &mut Report, store: &dyn Store) -> anyhow::Result<()> {
    // What was refused while writing would be named once more.
    let mut silent = report.silent();
    while let Some(survey) = Survey::next(sorted, &mut silent).await? {
        check::check(store, &survey, sorted, report).await?;
    }
    Ok(())
}

async fn read_names(lines: &mut Lines, report: &mut Report) -> anyhow::Result<Names> {
    let mut names = Names::new();
    let file = lines.name().to_owned();
    report.begin("reading users");
    while let Some(line) = lines.next()? {
        let number = line.number;
        match line.text.ok_or_else(too_long).and_then(seed::read_user) {
            Ok((id, name)) => drop(names.insert(id, name)),
            Err(reason) => report.refuse(&file, number, &reason)?,
        }
        report.advance(|| lines.read_of());
        pause(number).await;
    }
    Ok(names)
}

async fn read_rooms(lines: &mut Lines, to: &mut Sorter, report: &mut Report) -> anyhow::Result<()> {
    let file = lines.name().to_owned();
    report.begin("reading chatrooms");
    while let Some(line) = lines.next()? {
        let (number, mut notes) = (line.number, Vec::new());
        match line.text.ok_or_else(too_long).and_then(|text| Chatroom::read(number, text, &mut notes)) {
            Ok(room) => keep(&Document::Room(room), to)?,
            Err(reason) => report.refuse(&file, number, &reason)?,
        }
        notes.iter().for_each(|note| report.note(&file, number, note));
        report.advance(|| lines.read_of());
        pause(number).await;
    }
    Ok(())
}

async fn read_messages(lines: &mut Lines, to: &mut Sorter, report: &mut Report) -> anyhow::Result<()> {
    report.begin("reading messages");
    while let Some(line) = lines.next()? {
        let number = line.number;
        match line.text.ok_or_else(too_long).and_then(|text| Message::read(number, text)) {
            Ok(message) => keep(&Document::Message(message), to)?,
            Err(reason) => report.refuse_message(number, &reason)?,
        }
        report.advance(|| lines.read_of());
        pause(number).await;
    }
    Ok(())
}

fn too_long() -> seed::Reason {
    "is longer than 64 MiB".into()
}

fn keep(document: &Document, to: &mut Sorter) -> anyhow::Result<()> {
    to.push(&document.sort_key(), &serde_json::to_vec(document)?)
}

/// Lets the process hear that it is to end.
async fn pause(lines: u64) {
    if lines.is_multiple_of(PAUSE_EVERY) {
        tokio::task::yield_now().await;
    }
}

/// The store that is written to.
struct Target {
    store: Arc<dyn Store>,
    partitions: Partitions,
    claims: HashMap<Partition, Claim>,
    /// Where there is room for as much as the files are.
    scratch: PathBuf,
    is_database: bool,
}

impl Target {
    async fn open(settings: &ImportSettings) -> anyhow::Result<Self> {
        let scratch = settings.scratch.clone();
        let (store, scratch): (Arc<dyn Store>, _) = match (settings.database()?, &settings.data) {
            (Some(_), Some(_)) => {
                let twice = "the store is named twice: keep --data (DATA_DIR) or --cql (CQL_NODES)";
                return Err(WrongSettings(twice.into()).into());
            }
            (Some(options), None) => {
                let store = CqlStore::open(&options).await?;
                (Arc::new(store), scratch.unwrap_or_else(std::env::temp_dir))
            }
            (None, data) => {
                let data = data.clone().unwrap_or_else(|| DATA_DEFAULT.into());
                let store = match EmbeddedStore::open(&data, Options::default()) {
                    Err(error @ StoreOpenError::InUse { .. }) => {
                        return Err(error).context(
                            "a server runs on this data, and an import needs it alone; stop the server first",
                        );
                    }
                    opened => opened?,
                };
                (Arc::new(store), scratch.unwrap_or(data))
            }
        };
        let is_database = settings.cql.is_some();
        let partitions = match is_database {
            true => cluster::agreed_partitions(&*store, settings.partitions).await?,
            // The all-in-one has nothing to agree on with others.
            false => Partitions::new(all_in_one::PARTITIONS).context("at least one partition")?,
        };
        Ok(Self { store, partitions, claims: HashMap::new(), scratch, is_database })
    }

    /// The claim by which a room is written; each partition is claimed once.
    async fn claim(&mut self, survey: &Survey) -> anyhow::Result<Claim> {
        let partition = self.partitions.of(&survey.room.id);
        if let Some(claim) = self.claims.get(&partition) {
            return Ok(*claim);
        }
        let claim = Claim { partition, epoch: self.store.claim(partition).await? };
        self.claims.insert(partition, claim);
        Ok(claim)
    }

    /// Whoever else writes is a worker.
    fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref::<OpenError>() {
            Some(OpenError::Fenced(_)) if self.is_database => error.context(
                "room-workers or another import run on this database, and an import needs it alone; stop them, then run the same command again",
            ),
            _ => error,
        }
    }
}
