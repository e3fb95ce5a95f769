//! The ports, carried out by the writer thread and the reading threads.

use hubbub_core::ids::{Epoch, LogId, Millis, Partition, Partitions, RoomId, Seq, UserId};
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{AccountRow, AccountStore, AccountStoreError};
use hubbub_core::ports::bans::{Ban, Bans};
use hubbub_core::ports::revocations::{Revocation, Revocations};
use hubbub_core::ports::store::{
    Append, Appended, DirectoryCursor, JoinedRoom, MemberRow, Projection, Read, RoomRow, Segment, Store,
    StoreError, Stored, Trim,
};
use std::future::ready;
use tokio::sync::oneshot;

use super::EmbeddedStore;
use super::failure::{damaged, unavailable};
use super::queue::Refused;
use super::write::{NewEntries, Write};
use super::{accounts, bans, lists, log, retention, revocations};

impl EmbeddedStore {
    /// Hands a write to the writer thread, now; the future is its answer.
    fn write<T, E>(
        &self,
        write: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Write,
    ) -> PortFuture<'_, Result<T, E>>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.put(write(reply));
        Box::pin(async move {
            answer.await.unwrap_or_else(|_| Err(unavailable("the writing thread ended").into()))
        })
    }

    /// Hands a write to the writer thread, or refuses it.
    fn put(&self, write: Write) {
        let bytes = write.bytes();
        match self.shared.queue.put(write, bytes) {
            Ok(()) => {}
            Err((Refused::Full, write)) => {
                self.meters.queue_full.increment(1);
                write.refuse(unavailable("too much waits to be written"));
            }
            Err((Refused::Closed, write)) => write.refuse(unavailable("the store is closed")),
        }
    }
}

fn encoded(Append { room, epoch, entries }: &Append) -> NewEntries {
    let entries = entries.iter().map(|entry| (entry.seq, entry.encode(room))).collect();
    NewEntries { room: room.clone(), epoch: *epoch, entries }
}

impl Store for EmbeddedStore {
    fn log_id(&self) -> LogId {
        self.log_id
    }

    fn partitions(&self, candidate: Partitions) -> PortFuture<'_, Stored<Partitions>> {
        let candidate = candidate.count().to_be_bytes().to_vec();
        let kept = self.write(|reply| Write::Secret("partitions", candidate, reply));
        Box::pin(async move {
            let kept: Vec<u8> = kept.await?;
            let count = kept.try_into().ok().map(u16::from_be_bytes).and_then(Partitions::new);
            count.ok_or_else(|| damaged("the number of partitions has another form"))
        })
    }

    fn claim(&self, partition: Partition) -> PortFuture<'_, Stored<Epoch>> {
        self.write(|reply| Write::Claim(partition, reply))
    }

    fn fence(&self, partition: Partition) -> PortFuture<'_, Stored<Epoch>> {
        Box::pin(ready(Ok(self.shared.fence(partition))))
    }

    fn segments(&self, room: RoomId) -> PortFuture<'_, Stored<Vec<Segment>>> {
        self.readers.run_at_one_moment(move |db| log::segments(db, &room))
    }

    fn put_segment(&self, room: RoomId, segment: Segment) -> PortFuture<'_, Stored<()>> {
        self.write(|reply| Write::Segment(room, segment, reply))
    }

    fn append_then(&self, append: &Append, appended: Appended) {
        self.put(Write::Append(encoded(append), appended));
    }

    fn erase(&self, erased: Append) -> PortFuture<'_, Stored<()>> {
        self.write(|reply| Write::Erase(encoded(&erased), reply))
    }

    fn bar(&self, _room: RoomId, _epoch: Epoch, _from: Seq) -> PortFuture<'_, Stored<()>> {
        // Writes come in the order of the calls: none of an earlier holder comes after this one's.
        Box::pin(ready(Ok(())))
    }

    fn read(&self, read: Read) -> PortFuture<'_, Stored<Vec<hubbub_core::entry::Entry>>> {
        const DECODED_HERE: usize = 100;
        // First what is in memory, then the tables: what leaves memory meanwhile is in the tables already.
        let recent = self.shared.recent.range(&read);
        if recent.len() <= DECODED_HERE && log::is_all(&read, &recent) {
            return Box::pin(ready(log::decode(&read.room, recent)));
        }
        self.readers.run_at_one_moment(move |db| log::read(db, read, recent))
    }

    fn trim(&self, trim: Trim) -> PortFuture<'_, Stored<Seq>> {
        self.write(|reply| Write::Trim(trim, reply))
    }

    fn rooms_with_retention(
        &self,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomId>>> {
        self.readers.run_at_one_moment(move |db| retention::rooms(db, after.as_ref(), limit))
    }

    fn project(&self, projection: Projection) -> PortFuture<'_, Stored<()>> {
        self.write(|reply| Write::Project(Box::new(projection), reply))
    }

    fn room(&self, room: RoomId) -> PortFuture<'_, Stored<Option<RoomRow>>> {
        self.readers.run_at_one_moment(move |db| lists::room(db, &room))
    }

    fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<MemberRow>>> {
        self.readers.run(move |db| lists::members(db, &room, after.as_ref(), limit))
    }

    fn rooms_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<JoinedRoom>>> {
        self.readers.run(move |db| lists::rooms_of(db, &user, after.as_ref(), limit))
    }

    fn rooms_ever_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomId>>> {
        self.readers.run_at_one_moment(move |db| lists::rooms_ever_of(db, &user, after.as_ref(), limit))
    }

    fn directory(
        &self,
        after: Option<DirectoryCursor>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomRow>>> {
        self.readers.run_at_one_moment(move |db| lists::directory(db, after.as_ref(), limit))
    }

    fn check(&self) -> PortFuture<'_, Stored<()>> {
        if let Err(error) = self.shared.may_write() {
            return Box::pin(ready(Err(error)));
        }
        if let Some(damage) = self.shared.unfoldable() {
            return Box::pin(ready(Err(damage)));
        }
        // Before the probe, which would wait behind that commit.
        if let Err(error) = self.shared.is_moving() {
            return Box::pin(ready(Err(error)));
        }
        match self.shared.failing() {
            None if !self.shared.queue.is_closed() => Box::pin(ready(Ok(()))),
            // Nothing else may be writing, so find out whether it works again.
            _ => self.write(Write::Probe),
        }
    }
}

impl AccountStore for EmbeddedStore {
    fn insert(&self, account: AccountRow) -> PortFuture<'_, Result<(), AccountStoreError>> {
        self.write(|reply| Write::Account(Box::new(account), reply))
    }

    fn by_email(&self, email: String) -> PortFuture<'_, Result<Option<AccountRow>, AccountStoreError>> {
        let found = self.readers.run(move |db| accounts::by_email(db, &email));
        Box::pin(async move { Ok(found.await?) })
    }

    fn shared_secret(
        &self,
        name: &'static str,
        candidate: Vec<u8>,
    ) -> PortFuture<'_, Result<Vec<u8>, AccountStoreError>> {
        let kept = self.write(|reply| Write::Secret(name, candidate, reply));
        Box::pin(async move { Ok(kept.await?) })
    }
}

impl Bans for EmbeddedStore {
    fn put_ban(&self, ban: Ban) -> PortFuture<'_, Stored<()>> {
        self.write(|reply| Write::Ban(Box::new(ban), reply))
    }

    fn lift_ban(&self, user: UserId) -> PortFuture<'_, Stored<()>> {
        self.write(|reply| Write::LiftBan(user, reply))
    }

    fn bans(&self) -> PortFuture<'_, Stored<Vec<Ban>>> {
        self.readers.run(bans::all)
    }
}

impl Revocations for EmbeddedStore {
    fn put_revocation(&self, revocation: Revocation) -> PortFuture<'_, Stored<()>> {
        self.write(|reply| Write::Revocation(revocation, reply))
    }

    fn revocations(&self, _since: Millis) -> PortFuture<'_, Stored<Vec<Revocation>>> {
        // All of them: whoever has this store reads them once, when it begins.
        self.readers.run(revocations::all)
    }
}
