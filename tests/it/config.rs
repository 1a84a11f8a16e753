//! The configuration that is shipped.

use std::path::Path;

use undertone::config::{Config, Flags};

#[test]
fn the_shipped_configuration_loads_and_shows_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/undertone.toml");
    let config = Config::load(Some(&file), &Flags::default()).unwrap();
    assert_eq!(config, Config::default());
}
