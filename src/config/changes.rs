//! What a running server takes of another configuration, and what needs a restart.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::{Config, Session};

/// A running configuration and another one put together.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// What the server runs by from now on.
    pub running: Config,
    /// Keys that changed and are taken, such as `session.max_legs`.
    pub taken: Vec<String>,
    /// Keys that changed and are taken at the next start alone.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// Takes of a new configuration what can change while calls are live: the models and how they are run, what new calls may take, whose
    /// voices may be analysed, the rules. Ports, the journal, connections and logs stay as they were started.
    pub fn changed_to(&self, new: &Self) -> Changes {
        let Self { models, drain_deadline, inference, shadow, session, policy, alerts, .. } = new.clone();
        let running = Self {
            models,
            drain_deadline,
            inference,
            shadow,
            // Measuring while calls are live would find too little.
            session: Session {
                calibrate: self.session.calibrate,
                messages_per_second: self.session.messages_per_second,
                ..session
            },
            policy,
            alerts,
            ..self.clone()
        };
        let (before, after, asked) = (self.keys(), running.keys(), new.keys());
        let named: BTreeSet<&String> = before.keys().chain(asked.keys()).collect();
        let changed = named.into_iter().filter(|key| before.get(*key) != asked.get(*key));
        let (taken, needs_restart) = changed.cloned().partition(|key| after.get(key) == asked.get(key));
        Changes { running, taken, needs_restart }
    }

    /// Every value by its key, sections parted by dots; what is left out is not there.
    fn keys(&self) -> BTreeMap<String, Value> {
        let mut keys = BTreeMap::new();
        let config = Value::try_from(self).expect("a configuration is what `to_toml` writes");
        flatten(String::new(), config, &mut keys);
        keys
    }
}

fn flatten(key: String, value: Value, keys: &mut BTreeMap<String, Value>) {
    match value {
        Value::Table(table) => {
            let section = if key.is_empty() { key } else { key + "." };
            table.into_iter().for_each(|(name, value)| flatten(format!("{section}{name}"), value, keys));
        }
        value => drop(keys.insert(key, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_nothing() {
        let config = Config::default();
        let changes = config.changed_to(&config);
        assert_eq!(changes, Changes { running: config.clone(), taken: vec![], needs_restart: vec![] });
    }

    #[test]
    fn what_can_change_is_taken_and_what_cannot_is_named() {
        let running = Config::default();
        let mut new = running.clone();
        new.models = vec!["other".into()];
        new.session.max_legs = 7;
        new.session.calibrate = true;
        new.session.messages_per_second = 50;
        new.session.max_windows_per_second = Some(9);
        new.alerts.rules = Some("rules.toml".into());
        new.listen.set_port(1);
        new.journal.buffer += 1;
        new.log.filter = "debug".into();
        let changes = running.changed_to(&new);
        assert_eq!(changes.taken, ["alerts.rules", "models", "session.max_legs", "session.max_windows_per_second"]);
        assert_eq!(
            changes.needs_restart,
            ["journal.buffer", "listen", "log.filter", "session.calibrate", "session.messages_per_second"]
        );
        assert_eq!((changes.running.listen, changes.running.session.calibrate), (running.listen, false));
        assert_eq!((changes.running.session.max_legs, &changes.running.models), (7, &new.models));
        // Back again: what was left out changes too.
        let back = changes.running.changed_to(&running);
        assert_eq!((back.running, back.taken.len(), back.needs_restart.len()), (running, 4, 0));
    }
}
