//! Whether the process may be sent work, and if not, why.
//!
//! Alive is anything that answers: a store that is slow or away makes the process not ready, never dead, for a restart
//! would not bring the store back. Each part that can be in the way holds a [`Condition`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// The answer of `/healthz`: the process runs.
pub fn alive() -> Value {
    json!({ "status": "alive" })
}

/// All conditions of a process. Cloning gives another handle to the same ones.
#[derive(Debug, Clone, Default)]
pub struct Health {
    unmet: Arc<Mutex<BTreeMap<&'static str, Unmet>>>,
}

#[derive(Debug)]
struct Unmet {
    reason: String,
    is_vital: bool,
}

/// One condition; the part that it is about says when it is met.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    is_vital: bool,
    health: Health,
}

/// The answer of `/readyz` at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// What is in the way: a condition's name and a sentence, in the order of the names.
    pub unmet: Vec<(&'static str, String)>,
    /// What is not well and yet in nobody's way, likewise.
    pub trouble: Vec<(&'static str, String)>,
}

impl Health {
    /// A new condition, not met yet for the reason given.
    pub fn condition(&self, name: &'static str, reason: &str) -> Condition {
        self.add(name, true, reason)
    }

    /// A condition without which the process is ready all the same: whoever asks is told when it is not met.
    pub fn side_condition(&self, name: &'static str, reason: &str) -> Condition {
        self.add(name, false, reason)
    }

    fn add(&self, name: &'static str, is_vital: bool, reason: &str) -> Condition {
        let condition = Condition { name, is_vital, health: self.clone() };
        condition.is_not_met(reason);
        condition
    }

    /// Whether all conditions are met now.
    pub fn readiness(&self) -> Readiness {
        let unmet = self.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        let those = |vital: bool| {
            let found = unmet.iter().filter(move |(_, unmet)| unmet.is_vital == vital);
            found.map(|(name, unmet)| (*name, unmet.reason.clone())).collect()
        };
        Readiness { unmet: those(true), trouble: those(false) }
    }
}

impl Condition {
    /// From now on the condition is met. Says whether that is news.
    pub fn is_met(&self) -> bool {
        self.health.unmet.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name).is_some()
    }

    /// From now on the condition is not met. The reason is a sentence for an operator, shown to anybody who asks. Says whether
    /// that is news.
    pub fn is_not_met(&self, reason: &str) -> bool {
        let mut unmet = self.health.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        unmet.insert(self.name, Unmet { reason: reason.into(), is_vital: self.is_vital }).is_none()
    }
}

impl Readiness {
    /// Whether work may be sent here.
    pub fn is_ready(&self) -> bool {
        self.unmet.is_empty()
    }

    /// The HTTP status: 200 or 503.
    pub fn status(&self) -> u16 {
        if self.is_ready() { 200 } else { 503 }
    }

    /// The body: `{"status":"ready"}`, or `not ready` with the list of what is in the way; and what else is not well.
    pub fn to_json(&self) -> Value {
        let mut body = json!({ "status": if self.is_ready() { "ready" } else { "not ready" } });
        for (name, list) in [("unmet", &self.unmet), ("trouble", &self.trouble)] {
            if !list.is_empty() {
                let list = list.iter().map(|(name, reason)| json!({ "condition": name, "reason": reason }));
                body[name] = list.collect();
            }
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_condition_is_met() {
        let health = Health::default();
        assert!(health.readiness().is_ready());
        let store = health.condition("store", "the store is being opened");
        let bus = health.condition("bus", "not connected");
        assert_eq!(health.readiness().status(), 503);
        store.is_met();
        assert_eq!(
            health.readiness().to_json(),
            json!({ "status": "not ready", "unmet": [{ "condition": "bus", "reason": "not connected" }] })
        );
        bus.clone().is_met();
        assert_eq!(
            (health.readiness().status(), health.readiness().to_json()),
            (200, json!({ "status": "ready" }))
        );
        store.is_not_met("the disk is full");
        store.is_not_met("the disk is gone");
        assert_eq!(health.readiness().unmet, [("store", "the disk is gone".into())]);
    }

    #[test]
    fn what_is_in_nobodys_way_is_told_and_does_not_count() {
        let health = Health::default();
        let bots = health.side_condition("broker", "away");
        let readiness = health.readiness();
        let trouble = json!([{ "condition": "broker", "reason": "away" }]);
        assert_eq!(readiness.to_json(), json!({ "status": "ready", "trouble": trouble }));
        assert_eq!(readiness.status(), 200);
        bots.is_met();
        assert_eq!(health.readiness().to_json(), json!({ "status": "ready" }));
    }
}
