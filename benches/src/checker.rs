//! Whether every message of a room reached every member once and in one order.
//!
//! Pure: deliveries in, findings out. The first reader that sees the k-th message of a room fixes what the k-th message
//! is; every other reader must see the same. So the common case is one comparison, whatever the number of members. It is the same
//! for the server's number of a message: whoever hears of it first, a reader or the sender, fixes it.

mod findings;

use std::collections::BTreeSet;

pub use findings::{Fault, Findings, Kind};

/// So many of a room are kept by name.
const FAULTS_MAX: usize = 10;

/// The checker of one room.
#[derive(Debug)]
pub struct RoomChecker {
    number: u32,
    members: u32,
    senders: u32,
    /// Messages that were sent: counts below this are known.
    sent: u32,
    /// Those that the server said it didn't take.
    refused: BTreeSet<u32>,
    /// Of those, the ones that it never will.
    refused_for_good: BTreeSet<u32>,
    /// Counts in the order that the first reader saw.
    order: Vec<u32>,
    /// For each count its place in `order` plus one, or 0.
    place: Vec<u32>,
    /// For each count the end of the server's number of it, or 0 while nobody heard of one.
    seqs: Vec<u32>,
    /// For each count whether it was answered.
    acked: Vec<bool>,
    acks: u32,
    readers: Vec<Reader>,
    gone: BTreeSet<u32>,
    cut: BTreeSet<u32>,
    found: Findings,
    faults: Vec<Fault>,
}

#[derive(Debug, Clone, Default)]
struct Reader {
    /// How much of `order` is behind this reader.
    position: u32,
    /// Places before `position` that it skipped.
    skipped: Vec<u32>,
    /// The server's last number, 0 before the first.
    seq: u64,
}

impl RoomChecker {
    /// The room of that number, whose messages are sent by so many of its members in turn: count modulo senders is the sender.
    pub fn new(number: u32, members: u32, senders: u32) -> Self {
        Self {
            number,
            members,
            senders,
            sent: 0,
            refused: BTreeSet::new(),
            refused_for_good: BTreeSet::new(),
            order: Vec::new(),
            place: Vec::new(),
            seqs: Vec::new(),
            acked: Vec::new(),
            acks: 0,
            readers: vec![Reader::default(); members as usize],
            gone: BTreeSet::new(),
            cut: BTreeSet::new(),
            found: Findings::default(),
            faults: Vec::new(),
        }
    }

    /// The next message goes out; its count.
    pub fn on_sent(&mut self) -> u32 {
        self.place.push(0);
        self.seqs.push(0);
        self.acked.push(false);
        self.sent += 1;
        self.sent - 1
    }

    /// The server took a message, as that number if it says one.
    pub fn on_ack(&mut self, count: u32, seq: Option<u64>) {
        match self.acked.get_mut(count as usize) {
            Some(acked) if !*acked && !self.refused_for_good.contains(&count) => {
                *acked = true;
                self.acks += 1;
            }
            _ => return self.note(Kind::Unasked, None, Some(count), seq),
        }
        if let Some(seq) = seq {
            self.name(count, seq, None);
        }
    }

    /// The server said that it didn't take a message: nobody must wait for it. `for_good`: it will not be there.
    pub fn on_refused(&mut self, count: u32, for_good: bool) {
        if self.acked.get(count as usize).is_some_and(|acked| *acked) {
            return self.note(Kind::Unasked, None, Some(count), None);
        }
        if count < self.sent {
            self.refused.insert(count);
            if for_good {
                self.refused_for_good.insert(count);
            }
        }
    }

    /// A member is not there any more: what it has not seen is not lost.
    pub fn on_gone(&mut self, member: u32) {
        if member < self.members {
            self.gone.insert(member);
        }
    }

    /// The server ended a member's connection: what it has not seen is lost.
    pub fn on_cut(&mut self, member: u32) {
        if member < self.members {
            self.cut.insert(member);
        }
    }

    /// A member saw an element of the room's log, numbered by the server.
    pub fn on_seq(&mut self, member: u32, seq: u64) {
        let Some(reader) = self.readers.get_mut(member as usize) else {
            return self.note(Kind::Strange, Some(member), None, Some(seq));
        };
        let is_gap = reader.seq != 0 && seq != reader.seq + 1;
        reader.seq = reader.seq.max(seq);
        if is_gap {
            self.note(Kind::Gaps, Some(member), None, Some(seq));
        }
    }

    /// A member saw that the message is not as it was sent.
    pub fn on_altered(&mut self, member: u32, count: u32) {
        self.note(Kind::Altered, Some(member), Some(count), None);
    }

    /// A member saw a message by that number of the server's.
    pub fn on_number(&mut self, member: u32, count: u32, seq: u64) {
        self.name(count, seq, Some(member));
    }

    fn name(&mut self, count: u32, seq: u64, member: Option<u32>) {
        // All numbers of one room are near to each other: their ends tell two apart.
        let end = seq as u32;
        match self.seqs.get_mut(count as usize) {
            Some(known) if *known == 0 => *known = end,
            Some(known) if *known != end => self.note(Kind::Misnumbered, member, Some(count), Some(seq)),
            _ => {}
        }
    }

    fn note(&mut self, kind: Kind, member: Option<u32>, message: Option<u32>, seq: Option<u64>) {
        *self.found.of(kind) += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { kind, room: self.number, room_id: String::new(), member, message, seq });
        }
    }

    /// A member saw a message. Whether it is one that it had not seen yet.
    pub fn on_delivery(&mut self, member: u32, count: u32) -> bool {
        let known = self.place.get(count as usize).copied();
        let (true, Some(placed)) = (member < self.members, known) else {
            self.note(Kind::Strange, Some(member), Some(count), None);
            return false;
        };
        let place = if placed == 0 {
            if self.is_overtaken(count) {
                self.note(Kind::Reordered, Some(member), Some(count), None);
            }
            self.order.push(count);
            self.place[count as usize] = self.order.len() as u32;
            self.order.len() as u32 - 1
        } else {
            placed - 1
        };
        let reader = &mut self.readers[member as usize];
        if place >= reader.position {
            reader.skipped.extend(reader.position..place);
            reader.position = place + 1;
        } else if let Some(at) = reader.skipped.iter().position(|&skipped| skipped == place) {
            reader.skipped.swap_remove(at);
            self.note(Kind::Reordered, Some(member), Some(count), None);
        } else {
            self.note(Kind::Doubled, Some(member), Some(count), None);
            return false;
        }
        true
    }

    /// Whether the next message of its sender was delivered to somebody.
    fn is_overtaken(&self, count: u32) -> bool {
        let next = count.checked_add(self.senders).and_then(|next| self.place.get(next as usize));
        next.is_some_and(|&next| next != 0)
    }

    /// Messages that went out so far.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// The server's last number that a member saw, 0 before the first.
    pub fn seq(&self, member: u32) -> u64 {
        self.readers.get(member as usize).map_or(0, |reader| reader.seq)
    }

    /// Whether a member has as many messages as the first `sent` that went out.
    pub fn has(&self, member: u32, sent: u32) -> bool {
        let refused = self.refused.range(..sent).filter(|&&count| self.place[count as usize] == 0).count();
        member < self.members && self.has_so_many(member) + refused as u64 >= u64::from(sent)
    }

    /// Whether every member has everything that was sent and not refused.
    pub fn is_complete(&self) -> bool {
        let refused = self.refused_and_absent().count() as u64;
        self.there().all(|member| refused + self.has_so_many(member) >= u64::from(self.sent))
    }

    /// Whether everything that was sent has an answer.
    pub fn is_answered(&self) -> bool {
        self.unanswered() == 0
    }

    fn unanswered(&self) -> u64 {
        let refused = self.refused.iter().filter(|&&count| !self.acked[count as usize]).count();
        u64::from(self.sent - self.acks).saturating_sub(refused as u64)
    }

    fn refused_and_absent(&self) -> impl Iterator<Item = u32> {
        self.refused.iter().copied().filter(|&count| self.place[count as usize] == 0)
    }

    fn there(&self) -> impl Iterator<Item = u32> {
        (0..self.members).filter(|member| !self.gone.contains(member))
    }

    fn has_so_many(&self, member: u32) -> u64 {
        let reader = &self.readers[member as usize];
        u64::from(reader.position) - reader.skipped.len() as u64
    }

    /// How many members lack each message now, by its count. Takes as long as there are messages: for the end.
    pub fn lacking(&self) -> Vec<u32> {
        // What a reader has not reached by place, summed up from the last place down.
        let mut not_reached = vec![0_u32; self.order.len() + 1];
        let mut lacking = vec![0; self.sent as usize];
        let there: Vec<u32> = self.there().collect();
        for reader in there.iter().map(|&member| &self.readers[member as usize]) {
            not_reached[reader.position as usize] += 1;
            for &place in &reader.skipped {
                lacking[self.order[place as usize] as usize] += 1;
            }
        }
        let mut so_far = 0;
        for (place, &count) in self.order.iter().enumerate() {
            so_far += not_reached[place];
            lacking[count as usize] += so_far;
        }
        for (count, lacking) in lacking.iter_mut().enumerate().filter(|(count, _)| self.place[*count] == 0) {
            *lacking = if self.refused.contains(&(count as u32)) { 0 } else { there.len() as u32 };
        }
        lacking
    }

    /// What was found, and the first of it by name. What has not come by now is lost, if it can't come any more. `answers`: whether
    /// the target answers sends.
    pub fn findings(&self, answers: bool) -> (Findings, Vec<Fault>) {
        let (mut found, mut faults) = (self.found, self.faults.clone());
        let mut note = |kind, times: u64, member, message: u32| {
            *found.of(kind) += times;
            if times > 0 && faults.len() < FAULTS_MAX {
                let (room, room_id) = (self.number, String::new());
                faults.push(Fault { kind, room, room_id, member, message: Some(message), seq: None });
            }
        };
        let absent = || (0..self.sent).filter(|&count| self.place[count as usize] == 0);
        for member in self.there() {
            let reader = &self.readers[member as usize];
            for &place in &reader.skipped {
                note(Kind::Lost, 1, Some(member), self.order[place as usize]);
            }
            let kind = if self.cut.contains(&member) { Kind::Lost } else { Kind::NotCome };
            for &count in &self.order[reader.position as usize..] {
                note(kind, 1, Some(member), count);
            }
        }
        let (there, cut) =
            (self.there().count() as u64, self.there().filter(|m| self.cut.contains(m)).count() as u64);
        for count in absent().filter(|count| !self.refused.contains(count)) {
            // Its sender's next one is there: nobody will have it any more.
            let lost = if self.is_overtaken(count) { there } else { cut };
            note(Kind::Lost, lost, None, count);
            note(Kind::NotCome, there - lost, None, count);
        }
        for &count in self.refused_for_good.iter().filter(|&&count| self.place[count as usize] != 0) {
            note(Kind::RefusedKept, 1, None, count);
        }
        if answers && !self.is_answered() {
            let without = |count: &u32| !self.acked[*count as usize] && !self.refused.contains(count);
            (0..self.sent).filter(without).for_each(|count| note(Kind::Unanswered, 1, None, count));
        }
        (found, faults)
    }
}

#[cfg(test)]
mod tests;
