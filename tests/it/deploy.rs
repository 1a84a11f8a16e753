//! What is shipped for operators fits what is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use undertone::config::Config;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_shipped_configuration_shows_every_key() {
    let shipped = read("deploy/undertone.toml");
    let defaults: toml::Table = toml::from_str(&Config::default().to_toml().unwrap()).unwrap();
    let shown = |key: &str| {
        shipped
            .lines()
            .any(|line| line.trim_start_matches("# ").split(" =").next() == Some(key) && line.contains(" = "))
    };
    for (name, value) in &defaults {
        match value {
            toml::Value::Table(section) => {
                assert!(shipped.contains(&format!("\n[{name}]\n")), "no section [{name}]");
                for key in section.keys() {
                    assert!(shown(key), "no {name}.{key}");
                }
            }
            _ => assert!(shown(name), "no {name}"),
        }
    }
}

#[test]
fn what_the_container_copies_is_there() {
    let file = read("deploy/Dockerfile");
    let mut copied = 0;
    for line in file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from")) {
        let mut sources: Vec<&str> = line.split_whitespace().collect();
        sources.pop();
        for source in sources.into_iter().filter(|source| *source != "models") {
            assert!(root().join(source).exists(), "{source} is not there");
            copied += 1;
        }
    }
    assert!(copied >= 8, "only {copied} sources found");
}

#[test]
fn container_and_unit_agree_on_where_things_are() {
    let (container, unit) = (read("deploy/Dockerfile"), read("deploy/undertone.service"));
    for place in ["/usr/lib/undertone/libonnxruntime.so", "/usr/share/undertone", "/etc/undertone/undertone.toml"] {
        assert!(container.contains(place) && unit.contains(place), "{place}");
    }
    // The service manager must not kill before the drain is over.
    let stop: u64 = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().parse().unwrap();
    assert!(stop > Config::default().drain_deadline.as_secs());
}

#[test]
fn documents_link_to_files_that_are_there() {
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "docs/operating.md",
        "docs/integrating.md",
        "docs/alerts.md",
        "docs/supervising.md",
    ] {
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let folder = Path::new(document).parent().unwrap();
            assert!(root().join(folder).join(link).exists(), "{document} links to {link}");
        }
    }
}
