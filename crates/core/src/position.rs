//! A reader's place in a room's log, and what an arriving entry means to it.

use crate::ids::Seq;

/// The last seq that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position(pub Seq);

/// What an entry is to a reader at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The next one: deliver it.
    Next,
    /// Delivered before: drop it.
    Repeat,
    /// Some are missing between: hold it and fetch what follows the position.
    Gap,
}

impl Position {
    /// What the entry at `seq` is to this reader.
    pub fn arrival(self, seq: Seq) -> Arrival {
        match seq.0.checked_sub(self.0.0) {
            Some(1) => Arrival::Next,
            Some(0) | None => Arrival::Repeat,
            Some(_) => Arrival::Gap,
        }
    }

    /// Takes the entry at `seq` if it is the next one.
    pub fn advance(&mut self, seq: Seq) -> Arrival {
        let arrival = self.arrival(seq);
        if arrival == Arrival::Next {
            self.0 = seq;
        }
        arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_entry_moves_a_position() {
        let mut position = Position(Seq(4));
        assert_eq!(position.advance(Seq(4)), Arrival::Repeat);
        assert_eq!(position.advance(Seq(1)), Arrival::Repeat);
        assert_eq!(position.advance(Seq(6)), Arrival::Gap);
        assert_eq!(position.advance(Seq(u64::MAX)), Arrival::Gap);
        assert_eq!(position, Position(Seq(4)));
        assert_eq!(position.advance(Seq(5)), Arrival::Next);
        assert_eq!(position, Position(Seq(5)));
    }
}
