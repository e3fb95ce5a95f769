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
    unmet: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

/// One condition; the part that it is about says when it is met.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    health: Health,
}

/// The answer of `/readyz` at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// What is in the way: a condition's name and a sentence, in the order of the names.
    pub unmet: Vec<(&'static str, String)>,
}

impl Health {
    /// A new condition, not met yet for the reason given.
    pub fn condition(&self, name: &'static str, reason: &str) -> Condition {
        let condition = Condition { name, health: self.clone() };
        condition.is_not_met(reason);
        condition
    }

    /// Whether all conditions are met now.
    pub fn readiness(&self) -> Readiness {
        let unmet = self.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        Readiness { unmet: unmet.iter().map(|(name, reason)| (*name, reason.clone())).collect() }
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
        unmet.insert(self.name, reason.into()).is_none()
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

    /// The body: `{"status":"ready"}`, or `not ready` with the list of what is in the way.
    pub fn to_json(&self) -> Value {
        if self.is_ready() {
            return json!({ "status": "ready" });
        }
        let unmet = self.unmet.iter().map(|(name, reason)| json!({ "condition": name, "reason": reason }));
        json!({ "status": "not ready", "unmet": unmet.collect::<Value>() })
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
}
