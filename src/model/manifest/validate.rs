//! What must hold of a manifest before anything is built from it.

use std::{
    collections::HashSet,
    fmt::Display,
    path::{Component, Path},
};

use super::{Error, FORMAT, Manifest, UNCERTAIN};

/// Longest name of a model; as long as a leg's id may be.
const MAX_NAME_CHARACTERS: usize = 64;

impl Manifest {
    /// Whether it holds together: every error names the field, what it is and what it should be.
    ///
    /// Looks at no other file; the network is checked by [`Manifest::read_network`] and when a session is made of it.
    pub fn validate(&self) -> Result<(), Error> {
        if self.format != FORMAT {
            return Err(Error::Format { actual: self.format.into() });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || self.name.len() > MAX_NAME_CHARACTERS || !self.name.chars().all(allowed) {
            return invalid(
                "name",
                format_args!("{:?} is not 1 to {MAX_NAME_CHARACTERS} characters of A-Z a-z 0-9 . _ -", self.name),
            );
        }
        if self.version.is_empty() {
            return invalid("version", "is empty; give the model a version such as \"1\"");
        }
        self.validate_labels()?;
        if self.bandwidths.is_empty() {
            return invalid("bandwidths", "is empty; name what it was trained for: \"wide\", \"telephone\" or both");
        }
        self.validate_network()?;
        // Before the window, whose length in seconds is told from it.
        self.front_end.validate()?;
        self.window.validate(&self.front_end)?;
        self.calibration.validate().or_else(|error| invalid("calibration", error))?;
        self.standardization.validate(&self.front_end)?;
        if let Some((name, score)) = self.metrics.iter().find(|(_, score)| !score.is_finite()) {
            return invalid("metrics", format_args!("{name:?} is {score}; leave out what could not be measured"));
        }
        Ok(())
    }

    fn validate_labels(&self) -> Result<(), Error> {
        if self.labels.len() < 2 {
            return invalid("labels", format_args!("has {}; a model tells at least 2 apart", self.labels.len()));
        }
        let mut seen = HashSet::new();
        for label in &self.labels {
            if label.trim().is_empty() {
                return invalid("labels", "has an empty label; name what the model hears");
            }
            if label.eq_ignore_ascii_case(UNCERTAIN) {
                return invalid(
                    "labels",
                    format_args!("has {label:?}, which is what a decision below the threshold is called; rename it"),
                );
            }
            if !seen.insert(label) {
                return invalid("labels", format_args!("has {label:?} twice; every logit needs a label of its own"));
            }
        }
        Ok(())
    }

    fn validate_network(&self) -> Result<(), Error> {
        let network = &self.network;
        let mut components = Path::new(&network.file).components();
        let plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
        // A backslash separates folders on one system and not on another; refuse it on all.
        if !plain || network.file.contains(['/', '\\']) {
            return invalid(
                "network.file",
                format_args!("{:?} is not the name of a file beside the manifest; put the network there", network.file),
            );
        }
        if network.sha256.len() != 64
            || !network.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return invalid("network.sha256", "is not 64 hexadecimal digits in lower case, as `sha256sum` prints them");
        }
        if network.input.is_empty() || network.output.is_empty() || network.input == network.output {
            return invalid("network", "needs the names of the graph's input and output, and they differ");
        }
        Ok(())
    }
}

fn invalid(field: &'static str, problem: impl Display) -> Result<(), Error> {
    Err(Error::Invalid { field, problem: problem.to_string() })
}
