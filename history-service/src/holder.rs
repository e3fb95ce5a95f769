//! Up to where a log may be read: its holder knows.

use std::time::Duration;

use hubbub_core::ids::RoomId;
use hubbub_core::ports::bus::{BusError, Payload, Subject};
use hubbub_wire::tier::act::{Ask, ReadTo, Told, What};
use hubbub_wire::tier::parcel;
use tokio::time::{Instant, sleep};

use crate::Tier;
use crate::error::Failure;

/// How long to wait before a holder that is not there, or not able, is asked again: takeovers pass.
const PAUSE: Duration = Duration::from_millis(100);

/// How long an answer is waited for before the question is asked again: its holder may have died with it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks the holder where the log ends, until it tells or `until` has passed.
pub(crate) async fn sync(tier: &Tier, room: &RoomId, until: Instant) -> Result<ReadTo, Failure> {
    let subject = Subject::Act(tier.config.partitions.of(room));
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let ask = Ask {
            room: room.clone(),
            what: What::Sync { newest: 0, users: vec![] },
            timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        };
        let failed = match tier.bus.request(&subject, Payload::whole(ask).into(), left.min(PATIENCE)).await {
            Ok(mut told) => match parcel::header(&mut told)? {
                Told::Synced(synced) => return Ok(synced.read_to()),
                Told::NoSuchRoom => return Err(Failure::NoSuchRoom),
                Told::Unavailable | Told::Moved => "it is not able just now".to_owned(),
                Told::Done(_) | Told::Erased(_) | Told::Trimmed(_) => {
                    return Err(Failure::Holder("it answered something else".into()));
                }
            },
            Err(error @ BusError::TooLarge) => return Err(Failure::Holder(error.to_string())),
            Err(error) => error.to_string(),
        };
        if Instant::now() + PAUSE >= until {
            return Err(Failure::Holder(failed));
        }
        sleep(PAUSE).await;
    }
}
