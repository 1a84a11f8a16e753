//! Reload after reload leaves nothing behind: no engine, no model, no thread, no memory.

use std::{fs, path::PathBuf, sync::Arc};

use super::{Folder, reload, running, serve};
use crate::{
    harness::{ask, get},
    startup::Program,
};

/// Reloads between two looks at the memory.
const BATCH: usize = 20;
/// What a batch may leave where nothing leaks. A thread of the tiny model with its session takes some 340 KiB, so that a session a reload that is
/// never freed leaves 6.6 MiB.
const BATCH_BYTES: f64 = 1024.0 * 1024.0;
/// After so many batches the allocator has kept what it will keep.
const BATCHES: usize = 15;

/// Threads of this process that run windows.
fn inference_threads(id: u32) -> usize {
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    let tasks = fs::read_dir(PathBuf::from(format!("/proc/{id}/task"))).unwrap();
    tasks.flatten().map(name).filter(|name| name.starts_with("inference-")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_engines_that_were_replaced_are_dropped() {
    let folder = Folder::new();
    let harness = serve(&folder).await;
    let (mut engines, mut models) = (Vec::new(), Vec::new());
    for version in 2..12 {
        let served = harness.server.sessions().engines();
        engines.extend(served.all().iter().map(Arc::downgrade));
        models.extend(served.models().iter().map(Arc::downgrade));
        drop(served);
        folder.version(&version.to_string(), 2.0);
        assert_eq!(reload(&harness).await.1["result"], "taken");
    }
    assert_eq!((engines.len(), models.len()), (10, 10));
    let live = || engines.iter().filter(|engine| engine.strong_count() > 0).count();
    eventually!((live(), models.iter().filter(|model| model.strong_count() > 0).count()), (0, 0));
    eventually!(running(&harness), "1");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_hangup_reloads_the_program_and_many_leave_no_threads_or_memory() {
    let folder = Folder::new();
    let (program, _, admin) = Program::start_on(folder.path(), &[("UNDERTONE_INFERENCE__THREADS", "2")]);
    let taken = || get(admin, "/metrics").1.contains("undertone_reloads_total{result=\"taken\"} 1\n");
    eventually!(inference_threads(program.id()), 2);
    folder.version("2", 2.0);
    program.signal("-HUP");
    eventually!(taken(), true);
    eventually!(inference_threads(program.id()), 2);
    let resident = || {
        let (_, text) = get(admin, "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        line.unwrap().parse::<f64>().unwrap()
    };
    let mut grown = Vec::new();
    for batch in 0..BATCHES {
        let before = resident();
        for number in 0..BATCH {
            folder.version(&(3 + batch * BATCH + number).to_string(), 2.0);
            let (status, told) = ask(admin, "POST", "/reload");
            assert_eq!(status, 200, "{told}");
        }
        eventually!(inference_threads(program.id()), 2);
        grown.push(resident() - before);
        // A leak leaves as much after every batch; what allocators keep of the first, tens of megabytes, they use again.
        if grown[batch] < BATCH_BYTES {
            return;
        }
    }
    panic!("every {BATCH} reloads left more, at last as many bytes as {grown:?}");
}
