//! The contract of the `Leases` port.

use crate::ids::NodeId;
use crate::ids::Partition;
use crate::ports::leases::{LeaseError, Leases};

fn node(name: &str) -> NodeId {
    NodeId::parse(name).expect("an id")
}

/// Of two that saw the same, one takes it; each change has a revision of its own.
pub async fn a_lease_is_taken_by_one(leases: &dyn Leases) {
    let p = Partition(3);
    assert_eq!(leases.read(p).await.expect("read"), None);
    let first = leases.take(p, node("a"), None).await.expect("taken");
    assert_eq!(leases.take(p, node("b"), None).await, Err(LeaseError::Changed));
    let second = leases.renew(p, node("a"), first).await.expect("renewed");
    assert!(second > first);
    assert_eq!(leases.take(p, node("b"), Some(first)).await, Err(LeaseError::Changed));
    let third = leases.take(p, node("b"), Some(second)).await.expect("taken over");
    assert_eq!(leases.renew(p, node("a"), second).await, Err(LeaseError::Changed));
    let lease = leases.read(p).await.expect("read").expect("there");
    assert_eq!((lease.holder, lease.revision), (Some(node("b")), third));
}

/// A released lease has no holder, and the next taker names its revision.
pub async fn a_released_lease_is_free_at_once(leases: &dyn Leases) {
    let p = Partition(4);
    let held = leases.take(p, node("a"), None).await.expect("taken");
    leases.release(p, held).await.expect("released");
    let lease = leases.read(p).await.expect("read").expect("there");
    assert_eq!(lease.holder, None);
    assert!(lease.revision > held);
    assert_eq!(leases.release(p, held).await, Err(LeaseError::Changed));
    leases.take(p, node("b"), Some(lease.revision)).await.expect("taken");
}

/// Partitions do not touch each other.
pub async fn each_partition_has_its_own(leases: &dyn Leases) {
    leases.take(Partition(5), node("a"), None).await.expect("taken");
    leases.take(Partition(6), node("b"), None).await.expect("taken");
}
