//! A disk that has no room left, and has some again: a file system of a few pages, which the test mounts for itself. Where it may not,
//! the test says so and ends.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::Command,
};

use undertone::{
    call::EndReason,
    journal::{Draft, Error, Options, Query},
    server::proto,
};
use uuid::Uuid;

use crate::{
    harness::{Harness, customer},
    journal::{open, timeline},
};

/// The variable that makes [`on_a_disk_of_its_own`] do its work: the folder on which the disk is mounted.
const DISK: &str = "UNDERTONE_TEST_DISK";

/// What the child says when it has seen all that it was to see.
const DONE: &str = "the disk was full, and is not any more";

/// Mounts a disk on its first argument, and runs the others. As root of a user namespace of its own, which sees no other mount change.
const ON_A_DISK: &str = "mount -t tmpfs -o size=2m none \"$0\" && exec \"$@\"";

fn on_a_disk(disk: &std::path::Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_A_DISK]).arg(disk);
    command
}

#[test]
fn a_disk_that_fills_up_is_told_and_survived_and_nothing_that_was_kept_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    if !on_a_disk(dir.path()).arg("true").output().is_ok_and(|tried| tried.status.success()) {
        // Past the runner, which keeps what a test prints that passes.
        let told = b"no file system may be mounted in a namespace here: the test of a full disk was skipped\n";
        return std::io::stderr().write_all(told).unwrap();
    }
    let mut command = on_a_disk(dir.path());
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "full_disk::on_a_disk_of_its_own", "--nocapture"]);
    let output = command.env(DISK, dir.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains(DONE), "{out}\n{err}");
}

/// Not a test by itself: the child of the other.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_of_its_own() {
    let Some(disk) = std::env::var_os(DISK).map(PathBuf::from) else { return };
    let options = Options { path: Some(disk.join("journal.db")), node: Some("a".to_owned()), ..Options::default() };
    let of_server = options.clone();
    let harness = Harness::with(|config| config.journal = of_server).await;
    harness.spoken(customer("before"), 2.0).await;
    assert_eq!(harness.ended("before").await.reason, EndReason::Completed);

    // Somebody else's file takes the disk but for some pages, and the journal takes those.
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let journal = harness.server.sessions().journal().clone();
    let mut appended: Vec<(u64, Uuid)> = Vec::new();
    let error = loop {
        let drafts: Vec<Draft> = (0..8).map(|_| timeline("fill")).collect();
        let ids: Vec<Uuid> = drafts.iter().map(|draft| draft.id).collect();
        match journal.append(drafts).await {
            Ok(sequences) => appended.extend(sequences.into_iter().zip(ids)),
            Err(error) => break error,
        }
        assert!(appended.len() < 100_000, "never full");
    };
    assert!(matches!(error, Error::Full { .. }) && error.to_string().contains("free disk space"), "{error}");
    let more = File::create(disk.join("more")).and_then(|mut file| file.write_all(&[1; 1 << 16]));
    assert_eq!(more.unwrap_err().kind(), ErrorKind::StorageFull, "it is the disk that is full");
    eventually!(harness.get("/readyz").0, 503);
    assert_eq!(harness.metric("undertone_journal_writable "), "0");
    assert_ne!(harness.metric("undertone_journal_failures_total{reason=\"full\"} "), "0");

    // Calls go on, and all that was kept can be read.
    let closed = harness.spoken(customer("meanwhile"), 6.0).await;
    closed.summaries(proto::EndReason::Completed);
    assert!(closed.events().len() >= 12, "{}", closed.events().len());
    let kept = |entries: Vec<undertone::journal::Entry>| {
        entries.iter().map(|entry| (entry.sequence, entry.draft.id)).collect::<Vec<_>>()
    };
    assert_eq!(kept(journal.call("fill").await.unwrap()), appended);

    // Room again: what waited is written, and what is kept from now on too.
    fs::remove_file(&ballast).unwrap();
    fs::remove_file(disk.join("more")).unwrap();
    assert_eq!(harness.ended("meanwhile").await.reason, EndReason::Completed);
    eventually!(harness.get("/readyz").0, 200);
    assert_eq!(harness.metric("undertone_journal_writable "), "1");
    let lost = harness
        .get("/metrics")
        .1
        .lines()
        .filter(|line| line.starts_with("undertone_journal_lost_total{"))
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert!(lost.iter().all(|line| line.ends_with(" 0")), "{lost:?}");
    harness.spoken(customer("after"), 2.0).await;
    harness.ended("after").await;
    let told = journal.read_all(Query::default()).await.unwrap();
    drop(journal);
    harness.stop().await;
    let journal = open(&options).await;
    assert_eq!(
        kept(journal.read_all(Query::default()).await.unwrap()),
        kept(told),
        "the file is whole, and holds the same"
    );
    assert_eq!(kept(journal.call("fill").await.unwrap()), appended);
    journal.close().await;
    println!("{DONE}");
}
