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

/// Plays so many calls; gives by how many bytes the process grew.
async fn leave_nothing(calls: usize) -> f64 {
    let harness = Harness::start().await;
    // What is made once, by the first call of many.
    come_and_go(&harness, TOGETHER).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let resident = || harness.metric("process_resident_memory_bytes").parse::<f64>().unwrap();
    let (tasks_before, bytes_before) = (tasks(), resident());
    come_and_go(&harness, calls).await;
    eventually!(tasks() <= tasks_before, true);
    for metric in
        ["undertone_legs_live", "undertone_load_windows_per_second", "undertone_queue_windows{model=\"tiny\"}"]
    {
        eventually!(harness.metric(metric), "0");
    }
    let grown = resident() - bytes_before;
    harness.stop().await;
    grown
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_registry_are_as_they_were() {
    leave_nothing(300).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo test --test it leak -- --ignored --nocapture"]
async fn ten_thousand_calls_leave_memory_as_it_was() {
    let grown = leave_nothing(10_000).await;
    println!("after 10,000 calls the process holds {:.1} MiB more", grown / 1024.0 / 1024.0);
    // What an allocator keeps for itself; a leak of one window a call would be 1.8 GB.
    assert!(grown < 64.0 * 1024.0 * 1024.0, "{grown} bytes");
}
