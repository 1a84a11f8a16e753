//! Calls that come and go leave nothing behind.

use tokio::runtime::Handle;

use crate::harness::{Harness, voice};

/// Calls that are there at once.
const TOGETHER: usize = 50;

/// Opens and closes so many calls. Half of them end as they should, half of them vanish.
async fn come_and_go(harness: &Harness, calls: usize) {
    let audio = voice(0.6);
    for round in 0..calls / TOGETHER {
        let mut open = Vec::with_capacity(TOGETHER);
        for number in 0..TOGETHER {
            let call = harness.acknowledged(&format!("c{round}-{number}")).await;
            call.speak(&audio).await;
            open.push(call);
        }
        for (number, call) in open.into_iter().enumerate() {
            if number % 2 == 0 {
                assert!(call.end().await.status.is_ok());
            }
        }
        eventually!(harness.live_legs(), 0);
    }
}

/// Plays so many calls; gives by how many bytes the process had grown after each quarter of them.
async fn leave_nothing(calls: usize) -> [f64; 4] {
    let folder = tempfile::tempdir().unwrap();
    // One in memory holds what the calls told, which is no leak, and would be measured with them.
    let journal = folder.path().join("undertone.db");
    let harness = Harness::with(|config| config.journal.path = Some(journal)).await;
    // What is made once, by the first call of many.
    come_and_go(&harness, TOGETHER).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let resident = || harness.metric("process_resident_memory_bytes").parse::<f64>().unwrap();
    let (tasks_before, bytes_before) = (tasks(), resident());
    let mut grown = [0.0; 4];
    for grown in &mut grown {
        come_and_go(&harness, calls / 4).await;
        *grown = resident() - bytes_before;
    }
    eventually!(tasks() <= tasks_before, true);
    for metric in
        ["undertone_legs_live", "undertone_load_windows_per_second", "undertone_queue_windows{model=\"tiny\"}"]
    {
        eventually!(harness.metric(metric), "0");
    }
    harness.stop().await;
    grown
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_registry_are_as_they_were() {
    leave_nothing(400).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo test --test it leak -- --ignored --nocapture"]
async fn ten_thousand_calls_leave_memory_as_it_was() {
    let grown = leave_nothing(10_000).await.map(|bytes| bytes / 1024.0 / 1024.0);
    println!("after 2,500, 5,000, 7,500 and 10,000 calls the process holds {grown:.1?} MiB more");
    // What allocators, pools and the journal's cache keep is kept after the first thousands; a leak of one window a call would be 1.4 GB from
    // then on, and one of 1 KiB a call 7.3 MiB.
    assert!(grown[3] < 64.0 && grown[3] - grown[0] < 7.0, "{grown:?} MiB");
}
