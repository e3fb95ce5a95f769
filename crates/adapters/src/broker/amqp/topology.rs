//! The queues: used as they are found; made as the system that this one replaces made them; and where the broker refuses that, made
//! durable.
//!
//! RabbitMQ refuses new queues that are neither durable nor exclusive from 4.3 on, by an error that ends the connection: then the
//! next try is the durable one. A durable queue outlives its users, so it goes by itself when nobody used it for a day.

use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, Error, ErrorKind};

/// How long an unused durable queue of ours stays, in milliseconds.
const EXPIRES_MS: i32 = 24 * 3_600 * 1_000;

/// How a queue is to be had. Goes on by itself from one try to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Not durable, as the seed's.
    AsTheSeed,
    /// Durable, with an end.
    Durable,
}

/// Why a queue can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoQueue {
    /// Try again; the way may be another one now.
    #[error(transparent)]
    Again(#[from] Error),
    /// Somebody must do something. A sentence that says what.
    #[error("{0}")]
    Wrong(String),
}

/// Sees to it that a queue is there.
pub(super) async fn find(connection: &Connection, queue: &str, way: &mut Way) -> Result<(), NoQueue> {
    // A refusal closes the channel, so each try has its own.
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue.into(), passive, FieldTable::default()).await {
        Ok(_) => {
            tracing::info!(queue, "the queue is there, and is used as it is");
            channel.close(200, "".into()).await?;
            return Ok(());
        }
        Err(error) if soft(&error) == Some(AMQPSoftError::NOTFOUND) => {}
        Err(error) => return Err(explained(error, queue)),
    }
    let channel = connection.create_channel().await?;
    let (options, arguments) = match way {
        Way::AsTheSeed => (QueueDeclareOptions::default(), FieldTable::default()),
        Way::Durable => {
            let mut arguments = FieldTable::default();
            arguments.insert("x-expires".into(), AMQPValue::LongInt(EXPIRES_MS));
            (QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }, arguments)
        }
    };
    match channel.queue_declare(queue.into(), options, arguments).await {
        Ok(_) => {
            let durable = *way == Way::Durable;
            tracing::info!(queue, durable, "the queue was not there and was made");
            channel.close(200, "".into()).await?;
            Ok(())
        }
        Err(error) if *way == Way::AsTheSeed && is_a_refusal(&error) => {
            tracing::info!(queue, %error, "the broker takes no queue that is not durable; the next try is a durable one");
            *way = Way::Durable;
            Err(error.into())
        }
        Err(error) => Err(explained(error, queue)),
    }
}

fn soft(error: &Error) -> Option<AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft.clone()),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

/// Whether the broker refuses this kind of queue, and not us.
fn is_a_refusal(error: &Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    match error.kind() {
        AMQPErrorKind::Soft(soft) => *soft == AMQPSoftError::PRECONDITIONFAILED,
        AMQPErrorKind::Hard(hard) => {
            matches!(
                hard,
                AMQPHardError::INTERNALERROR | AMQPHardError::NOTIMPLEMENTED | AMQPHardError::NOTALLOWED
            )
        }
    }
}

/// What to do about an error of a queue that will not go away by itself.
pub(super) fn explained(error: Error, queue: &str) -> NoQueue {
    let what_to_do = match soft(&error) {
        // By its words alone RabbitMQ tells this from a lack of permissions.
        Some(AMQPSoftError::ACCESSREFUSED) if error.to_string().contains("exclusive use") => {
            "another program takes from it and lets nobody else: end that one, or set AMQP_QUEUE and AMQP_BOT_QUEUE to other names"
        }
        Some(AMQPSoftError::ACCESSREFUSED) => {
            "the broker's user may not use it: give the user the permissions configure, write and read for both queues and for the default exchange"
        }
        Some(AMQPSoftError::RESOURCELOCKED) => {
            "it is exclusive to another connection: end that one, or set AMQP_QUEUE and AMQP_BOT_QUEUE to other names"
        }
        Some(AMQPSoftError::PRECONDITIONFAILED) => {
            "its type or its arguments are not those of a plain queue: delete it, or set AMQP_QUEUE and AMQP_BOT_QUEUE to other names"
        }
        _ => return NoQueue::Again(error),
    };
    NoQueue::Wrong(format!("queue {queue}: {what_to_do} ({error})"))
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn error(kind: AMQPErrorKind) -> Error {
        ErrorKind::ProtocolError(AMQPError::new(kind, "said the broker".into())).into()
    }

    #[test]
    fn a_broker_that_refuses_the_kind_is_known() {
        assert!(is_a_refusal(&error(AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR))));
        assert!(!is_a_refusal(&error(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))));
    }

    #[test]
    fn what_will_not_mend_itself_says_what_to_do() {
        let locked = explained(error(AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED)), "q");
        assert!(locked.to_string().contains("other names"), "{locked}");
        let busy = AMQPError::new(
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED),
            "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use".into(),
        );
        let busy = explained(ErrorKind::ProtocolError(busy).into(), "q");
        assert!(busy.to_string().contains("another program takes from it"), "{busy}");
        let lost = explained(error(AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED)), "q");
        assert!(matches!(lost, NoQueue::Again(_)));
    }
}
