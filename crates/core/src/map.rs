//! The map for what is looked up for every message.

use std::collections::HashMap;

/// A map whose hash costs a fraction of the standard one's: a message's room and user are looked up again and again on its way.
/// Its seed is another one at every start: nobody can prepare ids that meet. Against one who measures how long look-ups take it
/// guards less than the standard one, and ids are ours or an account service's to give.
pub type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
