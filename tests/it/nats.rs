//! The journal in JetStream, on a `nats-server` of the test's own. Where there is none, each test says so and ends.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use undertone::{
    journal::{Audit, Draft, EngineKind, Entry, Error, Journal, Kind, Options, Query, Record, Scope},
    telemetry::metrics::{JournalMetrics, recorder},
};

use crate::{
    harness::{PATIENCE, within},
    journal::{
        expires, feeds, forgets, is_a_log, keeps_marks, next, open, survives_a_kill, tells_subscribers, timeline,
    },
};

/// A NATS server with JetStream on a free port, with a store of its own.
pub(crate) struct Nats {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

/// The server's program, where it is installed.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/bin".into()]);
    folders.map(|folder| folder.join("nats-server")).find(|file| file.is_file())
}

impl Nats {
    /// `None`, and a line that says so, where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        static TOLD: Once = Once::new();
        let Some(program) = program() else {
            // Past the runner, which keeps what a test prints that passes.
            let told = "nats-server is not installed: the tests of the journal in JetStream were skipped\n";
            TOLD.call_once(|| std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes()).unwrap());
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let ports = dir.path().join("ports");
        fs::create_dir(&ports).unwrap();
        let mut command = Command::new(program);
        command.arg("--ports_file_dir").arg(&ports).args(["-p", "-1"]);
        let child = spawn(with_jetstream(&mut command, &dir));
        let port = port_told_in(&ports);
        Some(Self { dir, port, child })
    }

    /// Starts it again, after a kill, on the same port with the same store.
    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new(program().unwrap());
        self.child = spawn(with_jetstream(command.args(["-p", &self.port.to_string()]), &self.dir));
    }

    /// The same, without JetStream.
    pub(crate) fn start_again_without_jetstream(&mut self) {
        let mut command = Command::new(program().unwrap());
        self.child = spawn(command.args(["-p", &self.port.to_string()]));
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal by name: `-STOP` makes it hang, `-CONT` go on.
    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> Options {
        let node = Some("a".to_owned());
        Options { engine: EngineKind::Jetstream, url: self.url(), node, ..Options::default() }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_jetstream<'a>(command: &'a mut Command, dir: &tempfile::TempDir) -> &'a mut Command {
    command.args(["-js", "-sd"]).arg(dir.path().join("store"))
}

fn spawn(command: &mut Command) -> Child {
    command.args(["-a", "127.0.0.1"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The port in the file that the server writes when it listens.
fn port_told_in(folder: &std::path::Path) -> u16 {
    let began = Instant::now();
    loop {
        let files = fs::read_dir(folder).unwrap();
        let told = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok()).find_map(|text| {
            let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
            ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
        });
        if let Some(port) = told {
            return port;
        }
        assert!(began.elapsed() < PATIENCE, "nats-server did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Has all of this call deleted.
pub(crate) async fn purge(journal: &Journal, call_id: &str) -> Result<u64, Error> {
    let (call_id, actor, reason) = (call_id.to_owned(), "officer".to_owned(), "he asked".to_owned());
    let audit = Audit::CallDeleted { call_id: call_id.clone(), actor, reason, entries: 0 };
    journal.purge(Scope::Call(call_id), Draft::new(SystemTime::now(), Record::Audit(audit))).await
}

async fn refusal(options: &Options) -> Error {
    let opened = Journal::open(options, JournalMetrics::new(&recorder()));
    within("a refusal", opened).await.err().expect("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_is_a_log() {
    let Some(nats) = Nats::start() else { return };
    is_a_log(&nats.options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_keeps_marks() {
    let Some(nats) = Nats::start() else { return };
    keeps_marks(&nats.options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_tells_subscribers() {
    let Some(nats) = Nats::start() else { return };
    tells_subscribers(&nats.options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_forgets() {
    let Some(nats) = Nats::start() else { return };
    forgets(&nats.options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_expires() {
    let Some(nats) = Nats::start() else { return };
    expires(&nats.options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_is_fed() {
    let Some(nats) = Nats::start() else { return };
    feeds(&nats.options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_survives_a_kill() {
    let Some(nats) = Nats::start() else { return };
    survives_a_kill(&nats.options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_nats_address_is_told_at_once() {
    // Bound and let go: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://user:secret@{address}");
    let options = Options { engine: EngineKind::Jetstream, url, ..Options::default() };
    let error = refusal(&options).await;
    let text = error.to_string();
    assert!(matches!(error, Error::Unreachable { .. }), "{text}");
    assert!(text.contains(&address.to_string()) && text.contains("journal.url") && !text.contains("secret"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_no_journal_is_left_alone() {
    let Some(nats) = Nats::start() else { return };
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let config = |name: &str, description: &str| async_nats::jetstream::stream::Config {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        subjects: vec![format!("{}.entry.>", name.to_lowercase()), format!("{}.audit", name.to_lowercase())],
        ..Default::default()
    };
    context.create_stream(config("ORDERS", "orders of a shop")).await.unwrap();
    let error = refusal(&Options { stream: "ORDERS".to_owned(), ..nats.options() }).await;
    assert!(error.to_string().contains("journal.stream"), "{error}");
    context.create_stream(config("LATER", "journal of Undertone, layout 7")).await.unwrap();
    let error = refusal(&Options { stream: "LATER".to_owned(), ..nats.options() }).await;
    assert!(matches!(error, Error::Newer { actual: 7, .. }), "{error}");
}

/// Neither a deletion of ours nor a client with every right on the streams but to delete them takes an audit entry away.
#[tokio::test(flavor = "multi_thread")]
async fn audit_entries_outlive_every_purge() {
    let Some(nats) = Nats::start() else { return };
    let journal = open(&nats.options()).await;
    journal.append(vec![timeline("gone"), timeline("gone"), timeline("kept")]).await.unwrap();
    let deleted = |call_id: &str| {
        let (call_id, actor, reason) = (call_id.to_owned(), "officer".to_owned(), "he asked".to_owned());
        Draft::new(SystemTime::now(), Record::Audit(Audit::CallDeleted { call_id, actor, reason, entries: 0 }))
    };
    // Deleted twice, as if it were asked again: what was said the first time stays.
    for expected in [2, 0] {
        assert_eq!(journal.purge(Scope::Call("gone".to_owned()), deleted("gone")).await, Ok(expected));
    }
    let audits = Query { kinds: vec![Kind::Audit], ..Query::default() };
    assert_eq!(journal.read_all(audits.clone()).await.unwrap().len(), 2);
    assert_eq!(journal.call("kept").await.unwrap().len(), 1);

    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let copied = async || context.get_stream("UNDERTONE_AUDIT").await.unwrap().cached_info().state.messages;
    eventually!(copied().await, 2);
    let audit = context.get_stream("UNDERTONE_AUDIT").await.unwrap();
    let told = audit.get_raw_message(1).await.unwrap();
    let told = String::from_utf8(told.payload.to_vec()).unwrap();
    assert!(told.contains("call_deleted") && told.contains("officer") && told.contains("\"entries\":2"), "{told}");
    assert!(audit.purge().await.is_err(), "the stream can be purged");
    assert!(audit.delete_message(1).await.is_err(), "a message can be deleted");
    let loosened = async_nats::jetstream::stream::Config {
        deny_purge: false,
        deny_delete: false,
        ..audit.cached_info().config.clone()
    };
    assert!(context.update_stream(loosened).await.is_err(), "the stream can be made to be purged");
    let entries = context.get_stream("UNDERTONE").await.unwrap();
    assert!(entries.delete_message(1).await.is_err(), "an entry of the journal can be deleted by its place");
    // All of the journal goes, the copy stays, and goes on.
    entries.purge().await.unwrap();
    assert_eq!(journal.read_all(Query::default()).await.unwrap(), []);
    assert_eq!(journal.purge(Scope::Call("kept".to_owned()), deleted("kept")).await, Ok(0));
    eventually!(copied().await, 3);
    journal.close().await;

    // A stream of that name which somebody made otherwise is not taken for it.
    let config = async_nats::jetstream::stream::Config { name: "LOOSE_AUDIT".to_owned(), ..Default::default() };
    context.create_stream(config).await.unwrap();
    let error = refusal(&Options { stream: "LOOSE".to_owned(), ..nats.options() }).await;
    assert!(error.to_string().contains("LOOSE_AUDIT") && error.to_string().contains("journal.stream"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_is_told_and_nothing_older_goes() {
    let Some(nats) = Nats::start() else { return };
    let journal = open(&Options { max_bytes: Some(64 * 4096), ..nats.options() }).await;
    let mut appended = Vec::new();
    let error = loop {
        match journal.append((0..100).map(|_| timeline("c")).collect()).await {
            Ok(sequences) => appended.extend(sequences),
            Err(error) => break error,
        }
        assert!(appended.len() < 20_000, "never full");
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    let first = journal.read(Query { limit: 1, ..Query::default() }).await.unwrap();
    assert_eq!(first.entries[0].sequence, appended[0]);
    journal.close().await;
}

/// One server writes, another listens, and NATS is killed in between.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_a_journal_that_comes_back() {
    let Some(mut nats) = Nats::start() else { return };
    let a = open(&nats.options()).await;
    let b = open(&Options { node: Some("b".to_owned()), ..nats.options() }).await;
    let mut on_b = b.subscribe(Query::default()).await.unwrap();
    let mut told = a.append((0..50).map(|_| timeline("before")).collect()).await.unwrap();
    for expected in &told {
        let entry = next(&mut on_b).await;
        assert_eq!((entry.sequence, entry.node.as_str()), (*expected, "a"));
    }
    let resumed_from = told[told.len() - 1];
    nats.kill();
    let lost = within("an answer", a.append(vec![timeline("while it is away")])).await;
    assert!(matches!(lost, Err(Error::Unreachable { .. })), "{lost:?}");
    nats.start_again();
    // The same drafts until they are taken: none is there twice.
    let drafts: Vec<_> = (0..50).map(|_| timeline("after")).collect();
    let began = Instant::now();
    let after = loop {
        match within("an answer", a.append(drafts.clone())).await {
            Ok(sequences) => break sequences,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
    };
    told.extend(&after);
    let mut came = Vec::new();
    while came.last() != after.last() {
        let entry = next(&mut on_b).await;
        if entry.draft.call_id.as_deref() == Some("after") {
            came.push(entry.sequence);
        }
    }
    assert_eq!(came, after);
    // One who resumes sees the same.
    let mut resumed = b
        .subscribe(Query { after: resumed_from, call_id: Some("after".to_owned()), ..Query::default() })
        .await
        .unwrap();
    for expected in &after {
        assert_eq!(next(&mut resumed).await.sequence, *expected);
    }
    // What was acknowledged before the kill is there, and after it, once.
    for journal in [&a, &b] {
        let kept = journal.read_all(Query::default()).await.unwrap();
        let of_ours = |entry: &&Entry| ["before", "after"].map(Some).contains(&entry.draft.call_id.as_deref());
        let kept: Vec<u64> = kept.iter().filter(of_ours).map(|entry| entry.sequence).collect();
        assert_eq!(kept, told);
    }
    a.close().await;
    b.close().await;
}

/// Somebody deletes the stream, and another server makes it anew.
#[tokio::test(flavor = "multi_thread")]
async fn who_listens_to_a_stream_that_is_made_anew_hears_it_from_its_first_entry() {
    let Some(nats) = Nats::start() else { return };
    let a = open(&nats.options()).await;
    let mut listening = a.subscribe(Query::default()).await.unwrap();
    let before = a.append((0..20).map(|_| timeline("before")).collect()).await.unwrap();
    for expected in &before {
        assert_eq!(next(&mut listening).await.sequence, *expected);
    }
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    context.delete_stream("UNDERTONE").await.unwrap();
    let b = open(&Options { node: Some("b".to_owned()), ..nats.options() }).await;
    let after = b.append((0..5).map(|_| timeline("after")).collect()).await.unwrap();
    assert!(after[4] < before[19], "{after:?}");
    let told = within("that it is another", listening.next()).await;
    assert!(matches!(told, Some(Err(Error::UnknownSequence { asked, .. })) if asked == before[19]), "{told:?}");
    for expected in &after {
        let entry = next(&mut listening).await;
        assert_eq!((entry.sequence, entry.node.as_str()), (*expected, "b"));
    }
    let last = a.append(vec![timeline("after")]).await.unwrap();
    assert_eq!(next(&mut listening).await.sequence, last[0]);
    assert_eq!(listening.last(), last[0]);
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_while_it_is_read_is_left_out_and_is_no_failure() {
    let Some(nats) = Nats::start() else { return };
    let journal = open(&nats.options()).await;
    journal.append(vec![timeline("kept")]).await.unwrap();
    for round in 0..60 {
        journal.append((0..500).map(|_| timeline("c")).collect()).await.unwrap();
        let gone = AtomicBool::new(false);
        let read = async {
            let mut reads = 0;
            loop {
                let over = gone.load(Ordering::Acquire);
                let kept = journal.call("c").await.unwrap_or_else(|error| panic!("round {round}: {error}"));
                assert!(kept.len() <= 500 && (!over || kept.is_empty()), "{} of them are left", kept.len());
                assert_eq!(journal.call("kept").await.unwrap().len(), 1);
                reads += 1;
                if over {
                    return reads;
                }
            }
        };
        let delete = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            assert_eq!(purge(&journal, "c").await, Ok(500));
            gone.store(true, Ordering::Release);
        };
        let (reads, ()) = within("reading", async { tokio::join!(read, delete) }).await;
        assert!(reads >= 2);
    }
    journal.close().await;
}
