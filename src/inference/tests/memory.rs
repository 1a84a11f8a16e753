//! What is told of the memory of windows.

use super::*;

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
