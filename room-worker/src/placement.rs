//! Which worker should hold which partition: rendezvous hashing over the workers that live.
//!
//! Each partition goes to the worker with the highest hash of (worker, partition). When one comes or goes, only the
//! partitions that it gets or had move. Source: Thaler and Ravishankar, *Using Name-Based Mappings to Increase Hit Rates*, 1998.
//! Nothing about safety rests on it: leases say who holds, and the store's fence who may tell.

use std::sync::Arc;

use hubbub_core::ids::{NodeId, Partition};
use hubbub_node::roster::Roster;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Who shares the partitions.
#[derive(Clone)]
pub enum Placement {
    /// This worker has all of them: there is no other.
    Alone,
    /// The workers of a roster share them.
    Shared(Arc<Roster>),
}

impl Placement {
    /// Whether the partition should be held by `node`. A worker who hears of nobody, not even of itself, thinks so too: if
    /// it is cut off, the fence keeps it from telling.
    pub(crate) fn is_for(&self, node: &NodeId, partition: Partition) -> bool {
        match self {
            Self::Alone => true,
            Self::Shared(roster) => {
                let living = roster.living();
                first(&living, partition).is_none_or(|first| first == node)
            }
        }
    }

    /// Whether another worker gave a sign of life of late.
    pub(crate) fn lives(&self, other: &NodeId) -> bool {
        match self {
            Self::Alone => false,
            Self::Shared(roster) => roster.lives(other),
        }
    }
}

/// Of these workers the one that should hold the partition.
fn first(workers: &[NodeId], partition: Partition) -> Option<&NodeId> {
    let score = |node: &NodeId| xxh3_64_with_seed(node.as_str().as_bytes(), u64::from(partition.0));
    workers.iter().max_by_key(|node| (score(node), *node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|name| NodeId::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_worker_that_goes_moves_only_what_it_had() {
        let (three, two) = (workers(&["a", "b", "c"]), workers(&["a", "c"]));
        let mut moved = 0;
        for partition in (0..1_000).map(Partition) {
            let before = first(&three, partition).unwrap();
            let after = first(&two, partition).unwrap();
            if before.as_str() == "b" {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!((250..420).contains(&moved), "{moved} of 1,000 were held by one of three");
    }

    #[test]
    fn all_agree_in_whatever_order_they_heard_of_each_other() {
        let (one, other) = (workers(&["a", "b", "c"]), workers(&["c", "a", "b"]));
        assert!((0..100).map(Partition).all(|p| first(&one, p) == first(&other, p)));
        assert_eq!(first(&[], Partition(1)), None);
    }
}
