//! A gateway's metrics: name, unit and meaning of each. Counted a batch, not a delivery.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Connections that are open.
pub const CONNECTIONS: &str = "hubbub_gateway_connections";
/// Connections that closed, by reason.
pub const CLOSED: &str = "hubbub_gateway_closed_total";
/// Connections refused before the upgrade or at their hello, by reason.
pub const REFUSED: &str = "hubbub_gateway_refused_total";
/// How late an event loop was at its last look at the clock, by shard.
pub const LOOP_LAG: &str = "hubbub_gateway_loop_lag_seconds";
/// Until when the certificate in force is valid.
pub const TLS_UNTIL: &str = "hubbub_gateway_tls_valid_until_seconds";
/// Requests that failed, by code and door.
pub const FAILED: &str = "hubbub_gateway_failed_requests_total";
/// Frames from clients.
pub const FRAMES_IN: &str = "hubbub_gateway_frames_in_total";
/// Entries taken from the bus, a room and shard.
pub const ENTRIES_IN: &str = "hubbub_gateway_entries_total";
/// One entry on one connection.
pub const DELIVERIES: &str = "hubbub_gateway_deliveries_total";
/// Bytes handed to the kernel by fan-out.
pub const DELIVERED_BYTES: &str = "hubbub_gateway_delivered_bytes_total";
/// From a `send` to its `ok`.
pub const ACK_SECONDS: &str = "hubbub_gateway_ack_seconds";
/// Questions to other tiers that were asked again: nobody was there, or nobody answered.
pub const ASKED_AGAIN: &str = "hubbub_gateway_asked_again_total";
/// From an entry's time to its writing to the last of a room's members here.
pub const LAG_SECONDS: &str = "hubbub_gateway_delivery_lag_seconds";
/// Bytes that wait for connections which read too slowly.
pub const QUEUE_BYTES: &str = "hubbub_gateway_queue_bytes";
/// Connections for which bytes wait.
pub const SLOW: &str = "hubbub_gateway_slow_connections";
/// Connections that were told `behind`.
pub const BEHIND: &str = "hubbub_gateway_behind_total";
/// Rooms read again from their holder, by cause.
pub const SYNCS: &str = "hubbub_gateway_syncs_total";
/// Rooms with members here.
pub const ROOMS: &str = "hubbub_gateway_rooms";
/// Bytes of rooms' newest entries that are kept.
pub const RECENT_BYTES: &str = "hubbub_gateway_recent_bytes";
/// Two contents for one seq: must stay 0.
pub const FORKS: &str = "hubbub_gateway_forks_total";
/// Other gateways that live.
pub const PEERS: &str = "hubbub_gateway_peers";
/// Times another gateway was asked for all its users.
pub const PEER_SNAPSHOTS: &str = "hubbub_gateway_peer_snapshots_total";
/// Messages of other gateways that could not be read.
pub const PEER_UNREADABLE: &str = "hubbub_gateway_peer_unreadable_total";

/// Requests to the admin API, by action and result.
pub const ADMIN_ACTIONS: &str = "hubbub_gateway_admin_actions_total";

/// Describes them to the recorder.
pub fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "connections that are open");
    describe_counter!(CLOSED, Unit::Count, "connections that closed, by reason");
    describe_counter!(REFUSED, Unit::Count, "connections refused before the upgrade or at hello, by reason");
    describe_gauge!(LOOP_LAG, Unit::Seconds, "how late an event loop was when it last looked, by shard");
    describe_gauge!(TLS_UNTIL, Unit::Seconds, "until when our TLS certificate is valid, Unix time");
    describe_counter!(FAILED, Unit::Count, "requests that failed, by code and door");
    describe_counter!(FRAMES_IN, Unit::Count, "frames from clients");
    describe_counter!(ENTRIES_IN, Unit::Count, "entries taken from the bus");
    describe_counter!(DELIVERIES, Unit::Count, "entries written to connections");
    describe_counter!(DELIVERED_BYTES, Unit::Bytes, "bytes that fan-out wrote to connections");
    describe_histogram!(ACK_SECONDS, Unit::Seconds, "from a send to its ok");
    describe_counter!(ASKED_AGAIN, Unit::Count, "questions asked again: nobody served or answered them");
    describe_histogram!(
        LAG_SECONDS,
        Unit::Seconds,
        "from an entry's time to its last write to a room's members here"
    );
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "bytes that wait for connections which read too slowly");
    describe_gauge!(SLOW, Unit::Count, "connections for which bytes wait");
    describe_counter!(BEHIND, Unit::Count, "times a slow consumer was told behind");
    describe_counter!(SYNCS, Unit::Count, "rooms read again from their holder, by cause");
    describe_gauge!(ROOMS, Unit::Count, "rooms with members on this gateway");
    describe_gauge!(RECENT_BYTES, Unit::Bytes, "the newest entries of rooms that are kept here");
    describe_gauge!(PEERS, Unit::Count, "other gateways that live");
    describe_counter!(PEER_SNAPSHOTS, Unit::Count, "times another gateway was asked for all its users");
    describe_counter!(PEER_UNREADABLE, Unit::Count, "messages of other gateways that could not be read");
    describe_counter!(ADMIN_ACTIONS, Unit::Count, "requests to the admin API, by action and result");
    describe_counter!(FORKS, Unit::Count, "two contents for one seq; anything above 0 is a defect");
    // There from the start: one that is missing is a tier that is missing, and the first of something is a change.
    [CONNECTIONS, QUEUE_BYTES, SLOW].into_iter().for_each(|name| gauge!(name).increment(0.0));
    [FORKS, BEHIND, ASKED_AGAIN, PEER_SNAPSHOTS, PEER_UNREADABLE]
        .into_iter()
        .for_each(|name| counter!(name).increment(0));
}
