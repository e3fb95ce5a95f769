//! The bus inside one process: calls, no queues. A listener's handler runs on the publisher's thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hubbub_core::map::FastMap;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::bus::{
    Answered, Bus, BusError, Listener, LossWatcher, Message, Reply, Server, Subject, Subscription,
};

use super::asks::Asks;

/// A bus for tiers that live in one process.
#[derive(Default)]
pub struct LocalBus {
    table: Arc<Mutex<Table>>,
    asks: Arc<Asks>,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    listeners: FastMap<Subject, Arc<Vec<(u64, Listener)>>>,
    servers: FastMap<Subject, Vec<(u64, Server)>>,
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // A panic elsewhere can't leave the table half changed: each change is one call.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes its listener or server out of the table when dropped.
struct Guard {
    table: Weak<Mutex<Table>>,
    subject: Subject,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else { return };
        let mut table = lock(&table);
        if let Some(listeners) = table.listeners.get_mut(&self.subject) {
            let left: Vec<_> = listeners.iter().filter(|(id, _)| *id != self.id).cloned().collect();
            match left.is_empty() {
                true => _ = table.listeners.remove(&self.subject),
                false => *listeners = Arc::new(left),
            }
        }
        if let Some(servers) = table.servers.get_mut(&self.subject) {
            servers.retain(|(id, _)| *id != self.id);
            if servers.is_empty() {
                table.servers.remove(&self.subject);
            }
        }
    }
}

impl LocalBus {
    /// Whose turn it is to serve the subject, and who else hears a request of it.
    fn servers_of(&self, subject: &Subject) -> Option<(Server, Vec<Server>)> {
        let mut table = lock(&self.table);
        let servers = table.servers.get_mut(subject)?;
        servers.rotate_left(1);
        let ((_, server), others) = servers.split_last()?;
        let others = if subject.is_shared() { &[] } else { others };
        Some((server.clone(), others.iter().map(|(_, server)| server.clone()).collect()))
    }

    fn guarded(&self, table: &mut Table, subject: Subject) -> (u64, Subscription) {
        table.next_id += 1;
        let id = table.next_id;
        (id, Subscription::new(Guard { table: Arc::downgrade(&self.table), subject, id }))
    }
}

impl Bus for LocalBus {
    fn publish(&self, subject: &Subject, message: Message) -> Result<(), BusError> {
        let message = message.fitting()?;
        let listeners = lock(&self.table).listeners.get(subject).cloned();
        for (_, listener) in listeners.iter().flat_map(|l| l.iter()) {
            listener(message.clone());
        }
        Ok(())
    }

    fn listen(&self, subject: Subject, listener: Listener) -> PortFuture<'_, Result<Subscription, BusError>> {
        let mut table = lock(&self.table);
        let (id, subscription) = self.guarded(&mut table, subject.clone());
        let listeners = table.listeners.entry(subject).or_default();
        Arc::make_mut(listeners).push((id, listener));
        Box::pin(std::future::ready(Ok(subscription)))
    }

    /// A call is not lost.
    fn watch_losses(&self, _watcher: LossWatcher) -> Subscription {
        Subscription::new(())
    }

    fn serve(&self, subject: Subject, server: Server) -> PortFuture<'_, Result<Subscription, BusError>> {
        let mut table = lock(&self.table);
        let (id, subscription) = self.guarded(&mut table, subject.clone());
        table.servers.entry(subject).or_default().push((id, server));
        Box::pin(std::future::ready(Ok(subscription)))
    }

    fn ask(&self, subject: &Subject, message: Message, timeout: Duration, answered: Answered) {
        let message = match message.fitting() {
            Ok(message) => message,
            Err(error) => return answered(Err(error)),
        };
        let Some((server, others)) = self.servers_of(subject) else {
            return answered(Err(BusError::NoResponders));
        };
        let ticket = self.asks.begin(timeout, answered);
        let reply = || {
            let asks = self.asks.clone();
            // The first one counts.
            Reply::new(move |payload| asks.end(ticket, Ok(payload)))
        };
        others.iter().for_each(|server| server(message.clone(), reply()));
        server(message, reply());
    }
}
