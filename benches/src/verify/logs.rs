//! The logs as they are in the end, or why there is none.
//!
//! Silence says nothing of what is kept. A clear no does: a room in which something was acknowledged must be there, and so
//! must an account that was registered.

use std::time::{Duration, Instant};

use hubbub_client::answer::Range;
use hubbub_client::{Client, Error};
use hubbub_core::code::Code;
use hubbub_core::ids::{RoomId, Seq};
use hubbub_testkit::checker::Seen;
use tokio::time::{sleep, timeout_at};

use super::registry::Registry;
use crate::targets::accounts::Denied;

/// Entries a page.
const PAGE: u32 = 1_000;
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(200);
/// What is between a no and asking once more: it must stay one, and who asks for an account too often is let wait.
const NO_FOR: Duration = Duration::from_secs(3);

/// Why a log was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoLog {
    /// The server says that there is none for us, and stays with it.
    Denied(String),
    /// Nothing that says whether there is one; what was heard last.
    Silent(String),
}

/// Reads a room's whole log at the n-th gateway, page by page from its begin, however often that must be tried before patience
/// is over. The client is another one afterwards if it had ended for good.
pub(super) async fn whole_log(
    people: &Registry<'_>,
    (n, client): (usize, &mut Client),
    room: &RoomId,
) -> Result<Vec<Seen>, NoLog> {
    let until = Instant::now() + people.plan.patience;
    let mut heard = "no answer".to_owned();
    let reading = read(people, (n, client), room, &mut heard);
    match timeout_at(until.into(), reading).await {
        Ok(read) => read.map_err(NoLog::Denied),
        Err(_) => Err(NoLog::Silent(heard)),
    }
}

/// For as long as that takes. An error is a no.
async fn read(
    people: &Registry<'_>,
    (n, client): (usize, &mut Client),
    room: &RoomId,
    heard: &mut String,
) -> Result<Vec<Seen>, String> {
    let (mut log, mut after, mut said_no) = (Vec::new(), Seq(0), false);
    loop {
        let error = match client.history(room, Range::After(after), Some(PAGE)).await {
            Ok(page) => {
                log.extend(page.entries.iter().map(Seen::from));
                after = page.entries.last().map_or(after, |entry| entry.seq);
                if page.entries.is_empty() || !page.more {
                    return Ok(log);
                }
                continue;
            }
            Err(error) => error,
        };
        *heard = error.to_string();
        let mut no = is_no(&error).then(|| heard.clone());
        if no.is_none() && is_the_end(&error) {
            match people.come_again(n, "judge").await {
                Ok(again) => *client = again,
                Err(error) => {
                    *heard = format!("{error:#}");
                    no = error.downcast_ref::<Denied>().map(|denied| {
                        format!("an account that was registered at the begin is refused: {denied}")
                    });
                }
            }
        }
        match no {
            Some(no) if said_no => return Err(no),
            no => said_no = no.is_some(),
        }
        sleep(if said_no { NO_FOR } else { TRY_EVERY }).await;
    }
}

/// Whether that says that the room is not there, or not for one who made it or joined it.
fn is_no(error: &Error) -> bool {
    matches!(error.code(), Some(Code::NoSuchRoom | Code::NotMember | Code::Forbidden))
}

/// Whether this client will never have another answer.
fn is_the_end(error: &Error) -> bool {
    match error {
        Error::Refused(_) => error.code() == Some(Code::Unauthorized),
        Error::Closed { .. } | Error::Connect { .. } => true,
        Error::Deadline | Error::BadAnswer(_) => false,
    }
}
