//! What is told of the memory of windows, and of how many wait.

use super::*;
use crate::telemetry::metrics::{ModelMetrics, recorder};

#[test]
fn the_memory_of_windows_is_told_after_each_batch_and_taken_back_at_the_end() {
    let bits = Arc::new(AtomicU64::new(0));
    let told = || f64::from_bits(bits.load(Ordering::Relaxed));
    for max_batch in [1, 4] {
        let metrics = Metrics { buffer_bytes: Gauge::from_arc(Arc::clone(&bits)), ..Metrics::default() };
        let (backend, begun, go) = gated();
        let (handle, worker) = pair(options(8, max_batch), metrics, backend).unwrap();
        let answers: Vec<_> = (0..8_u8).map(|number| infer(&handle, number.into(), 1.0)).collect();
        let worker = thread::spawn(move || worker.run());
        begun.recv().unwrap();
        go.send(()).unwrap();
        // While others wait and run: two numbers of four bytes a window, and once more where a batch is laid out.
        let expected = if max_batch == 1 { 64.0 } else { 64.0 + 32.0 };
        for _ in 1..8 / max_batch {
            begun.recv().unwrap();
            assert_eq!(told(), expected, "batches of {max_batch}");
            go.send(()).unwrap();
        }
        answers.into_iter().for_each(|answer| drop(wait(answer)));
        handle.close();
        worker.join().unwrap().unwrap();
        assert_eq!(told(), 64.0, "what is kept for windows to come");
        drop(handle);
        assert_eq!(told(), 0.0);
    }
}

#[test]
fn a_model_made_anew_takes_nothing_off_what_is_told_of_the_one_in_service() {
    let recorder = recorder();
    let told = |name: &str| {
        let text = recorder.handle().render();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("{model=\"m\"} "));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse::<f64>().unwrap()
    };
    let memory = || told("undertone_window_buffers_bytes");
    // One for which so many windows wait.
    let engine = |windows: u8| {
        let ModelMetrics { queue_windows, buffer_bytes, .. } = ModelMetrics::new(&recorder, "m", "cpu", &[]);
        let metrics = Metrics { queue_windows, buffer_bytes, ..Metrics::default() };
        let (handle, worker) = pair(options(8, 1), metrics, numbers).unwrap();
        let answers: Vec<_> = (0..windows).map(|number| infer(&handle, number.into(), 1.0)).collect();
        (handle, worker, answers)
    };
    // One that has run as many.
    let used = |windows| {
        let (handle, worker, answers) = engine(windows);
        handle.close();
        worker.run().unwrap();
        answers.into_iter().for_each(|answer| drop(wait(answer)));
        handle
    };
    let before = used(8);
    assert_eq!(memory(), 64.0, "eight windows of two numbers of four bytes");
    // A reload that is refused had made one already.
    drop(engine(0));
    assert_eq!(memory(), 64.0);
    let after = used(4);
    assert_eq!(memory(), 64.0 + 32.0);
    drop(before);
    assert_eq!(memory(), 32.0);
    drop(after);
    assert_eq!(memory(), 0.0);
    // So it is with what waits.
    let (in_service, worker, answers) = engine(3);
    drop(engine(0));
    assert_eq!(told("undertone_queue_windows"), 3.0);
    in_service.close();
    worker.run().unwrap();
    answers.into_iter().for_each(|answer| drop(wait(answer)));
    assert_eq!(told("undertone_queue_windows"), 0.0);
}
