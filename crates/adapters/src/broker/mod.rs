//! Adapters of the `Broker` port.

mod amqp;
mod local;

pub use amqp::{AmqpBroker, AmqpOptions, BadAmqpUrl};
pub use local::{LocalAnswers, LocalBots, LocalBroker};
