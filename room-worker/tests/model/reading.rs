//! How the log is read: by readers, who go by a head that a holder has named, and by a holder that looks for the end.

use crate::holder::Holder;
use crate::model::{Mistake, RoomLog, World};
use crate::store::{Entry, Epoch, RowKey, Seen, Seq};

impl RoomLog {
    pub fn row_key(&self, epoch: Epoch, seq: Seq) -> RowKey {
        let epoch = if self.mistake == Some(Mistake::SharedKeys) { 0 } else { epoch };
        RowKey { epoch, bucket: seq / self.bucket, seq }
    }

    /// In which segment each seq up to `head` is: each is cut where the next one starts. `None` is in none.
    fn epochs(&self, world: &World, newest: Epoch, head: Seq) -> Vec<Option<Epoch>> {
        let mut epochs = vec![None; usize::from(head)];
        let segment =
            |epoch: Epoch| world.store.segments.get(epoch, Seen::Durable).map(|segment| (epoch, segment));
        if self.mistake == Some(Mistake::NoPrevChain) {
            // All segments there are count, also one of a holder that was fenced before it wrote it.
            let older = world.store.segments.keys(Seen::Durable).into_iter().filter(|epoch| *epoch <= newest);
            for (epoch, segment) in older.filter_map(segment) {
                epochs.iter_mut().skip(usize::from(segment.start) - 1).for_each(|of| *of = Some(epoch));
            }
            return epochs;
        }
        let mut next = Some(newest);
        while let Some((epoch, segment)) = next.and_then(segment) {
            let own = epochs.iter_mut().skip(usize::from(segment.start) - 1);
            own.filter(|of| of.is_none()).for_each(|of| *of = Some(epoch));
            next = segment.prev;
        }
        epochs
    }

    /// What a reader gets who was told this head. An entry that is missing is `None`.
    pub fn read_up_to(&self, world: &World, newest: Epoch, head: Seq) -> Vec<Option<Entry>> {
        let row = |(index, epoch): (usize, Option<Epoch>)| {
            world.store.log.get(self.row_key(epoch?, index as Seq + 1), Seen::Durable)
        };
        self.epochs(world, newest, head).into_iter().enumerate().map(row).collect()
    }

    /// In which segment the last entry is that a holder found.
    pub fn origin(&self, world: &World, holder: &Holder) -> Option<Epoch> {
        let (newest, segment) = holder.newest?;
        match holder.head() >= segment.start {
            true => Some(newest),
            false => self.epochs(world, segment.prev?, holder.head()).last().copied().flatten(),
        }
    }

    /// The rows of one segment in the bucket of `from`, from there on, and whether the log may go on in the next one.
    pub fn rest_of_bucket(
        &self,
        world: &World,
        epoch: Epoch,
        from: Seq,
        seen: Seen,
    ) -> (Vec<Option<Entry>>, bool) {
        let bucket = from / self.bucket;
        let end = (bucket + 1).saturating_mul(self.bucket).min(self.seqs + 1).max(from);
        let row = |seq| world.store.log.get(self.row_key(epoch, seq), seen);
        let mut rows: Vec<_> = (from..end).map(row).collect();
        let kept = match self.mistake {
            Some(Mistake::LastRowIsTheEnd) => {
                rows.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
            }
            _ => rows.iter().position(Option::is_none).unwrap_or(rows.len()),
        };
        let full = kept == rows.len() && end <= self.seqs;
        rows.truncate(kept);
        (rows, full && self.mistake != Some(Mistake::RecoveryStopsAtBucket))
    }
}
