//! The worker by its handle: what is answered, whatever the backend does. Futures are polled by hand, and nothing sleeps.

use std::{
    path::Path,
    pin::Pin,
    sync::{
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use proptest::prelude::*;

use super::*;

mod memory;

type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Answers a window with its first number and its batch's size; fails or panics over the numbers that say so.
struct Numbers {
    /// When present, every run waits for a token first and says that it has begun.
    gate: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
}

const FAILS: f32 = -1.0;
const PANICS: f32 = -2.0;

impl Classifier for Numbers {
    fn run(&mut self, windows: &[f32], batch: usize) -> Result<Vec<f32>, model::Error> {
        if let Some((begun, go)) = &self.gate {
            begun.send(()).unwrap();
            go.recv().unwrap();
        }
        let rows = windows.chunks(windows.len() / batch);
        let mut logits = Vec::new();
        for row in rows {
            assert!(row[0] != PANICS, "a number that panics");
            if row[0] == FAILS {
                return Err(model::Error::Inference("a number that fails".into()));
            }
            logits.extend([row[0], batch as f32]);
        }
        Ok(logits)
    }
}

fn numbers() -> Result<Box<dyn Classifier>, model::Error> {
    Ok(Box::new(Numbers { gate: None }))
}

/// A backend whose one classifier runs only when told to.
struct Gated {
    gate: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

impl Backend for Gated {
    fn classifier(&self) -> Result<Box<dyn Classifier>, model::Error> {
        let gate = self.gate.lock().unwrap().take();
        match gate {
            Some(gate) => Ok(Box::new(Numbers { gate: Some(gate) })),
            None => Err(model::Error::Inference("there is one only".into())),
        }
    }
}

fn gated() -> (Gated, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((begun, has_begun), (go, goes)) = (mpsc::channel(), mpsc::channel());
    (Gated { gate: Mutex::new(Some((begun, goes))) }, has_begun, go)
}

fn options(capacity: usize, max_batch: usize) -> Options {
    Options { threads: 1, queue: queue::Options { capacity, max_batch, max_wait: Duration::ZERO } }
}

fn start(options: Options, backend: impl Backend) -> (Handle, JoinHandle<Result<(), Stopped>>) {
    let (handle, worker) = pair(options, Metrics::default(), backend).unwrap();
    (handle, thread::spawn(move || worker.run()))
}

fn poll(answer: &mut Answer) -> Poll<Outcome> {
    answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn wait(answer: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer)
}

fn infer(handle: &Handle, leg: u64, number: f32) -> Answer {
    Box::pin(handle.infer(leg, vec![number, 0.0]))
}

#[test]
fn nothing_runs_until_the_worker_does_and_a_clean_end_runs_what_waits() {
    let (handle, worker) = pair(options(8, 4), Metrics::default(), numbers).unwrap();
    let mut answers: Vec<_> = (0..6_u8).map(|number| infer(&handle, number.into(), number.into())).collect();
    assert!(answers.iter_mut().all(|answer| poll(answer).is_pending()));
    assert_eq!(handle.depth(), 6);
    handle.close();
    assert!(matches!(wait(infer(&handle, 9, 9.0)), Outcome::Failed(_)), "the intake is closed");
    worker.run().unwrap();
    for (number, answer) in (0_u8..).zip(&mut answers) {
        let batch = if number < 4 { 4.0 } else { 2.0 };
        assert_eq!(poll(answer), Poll::Ready(Outcome::Logits(vec![number.into(), batch].into())));
    }
    assert_eq!((handle.depth(), handle.failure()), (0, None));
}

#[test]
fn closed_while_classifiers_are_made_it_makes_no_more() {
    let (begun, has_begun) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let slow = move || {
        begun.send(()).unwrap();
        goes.lock().unwrap().recv().unwrap();
        numbers()
    };
    let (handle, worker) = start(Options { threads: 8, ..options(8, 4) }, slow);
    has_begun.recv().unwrap();
    handle.close();
    go.send(()).unwrap();
    worker.join().unwrap().unwrap();
    assert!(has_begun.try_recv().is_err(), "one was made, not eight");
}

#[test]
fn ends_when_the_last_handle_is_gone() {
    let (handle, worker) = start(options(8, 4), numbers);
    let answer = infer(&handle.clone(), 1, 5.0);
    drop(handle);
    assert_eq!(wait(answer), Outcome::Logits(vec![5.0, 1.0].into()));
    worker.join().unwrap().unwrap();
}

#[test]
fn a_window_whose_future_is_dropped_is_not_run() {
    let (backend, begun, go) = gated();
    let (handle, worker) = start(options(8, 1), backend);
    let first = infer(&handle, 1, 1.0);
    begun.recv().unwrap();
    // While the first runs, two wait; one of them is given up.
    drop(infer(&handle, 1, PANICS));
    let last = infer(&handle, 1, 2.0);
    go.send(()).unwrap();
    assert_eq!(wait(first), Outcome::Logits(vec![1.0, 1.0].into()));
    begun.recv().unwrap();
    go.send(()).unwrap();
    assert_eq!(wait(last), Outcome::Logits(vec![2.0, 1.0].into()));
    handle.close();
    worker.join().unwrap().unwrap();
    assert!(begun.try_recv().is_err(), "two runs, not three");
}

#[test]
fn a_window_given_up_while_it_runs_harms_nobody() {
    let (backend, begun, go) = gated();
    let (handle, worker) = start(options(8, 1), backend);
    let first = infer(&handle, 1, 1.0);
    begun.recv().unwrap();
    drop(first);
    let second = infer(&handle, 1, 2.0);
    (0..2).for_each(|_| go.send(()).unwrap());
    assert_eq!(wait(second), Outcome::Logits(vec![2.0, 1.0].into()));
    handle.close();
    worker.join().unwrap().unwrap();
}

#[test]
fn a_shed_window_is_answered_at_once() {
    let (handle, _worker) = pair(options(2, 2), Metrics::default(), numbers).unwrap();
    let mut answers: Vec<_> = (0..3_u8).map(|number| infer(&handle, 1, number.into())).collect();
    assert_eq!(poll(&mut answers[0]), Poll::Ready(Outcome::Shed));
    assert!(answers[1..].iter_mut().all(|answer| poll(answer).is_pending()));
    assert_eq!(handle.depth(), 2);
}

#[test]
fn one_bad_window_does_not_fail_its_batch() {
    for bad in [FAILS, PANICS] {
        let (handle, worker) = pair(options(8, 4), Metrics::default(), numbers).unwrap();
        let answers = [1.0, bad, 3.0].map(|number| infer(&handle, 1, number));
        handle.close();
        worker.run().unwrap();
        let [first, second, third] = answers.map(wait);
        assert_eq!((first, third), (Outcome::Logits(vec![1.0, 1.0].into()), Outcome::Logits(vec![3.0, 1.0].into())));
        assert!(matches!(&second, Outcome::Failed(error) if error.contains("a number that")), "{second:?}");
        assert_eq!(handle.failure(), None);
    }
}

#[test]
fn a_backend_that_panics_is_made_anew() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let backend = move || {
        count.fetch_add(1, Ordering::Relaxed);
        numbers()
    };
    let (handle, worker) = start(options(8, 4), backend);
    assert!(
        matches!(wait(infer(&handle, 1, PANICS)), Outcome::Failed(error) if error.contains("a number that panics"))
    );
    assert_eq!(wait(infer(&handle, 1, 7.0)), Outcome::Logits(vec![7.0, 1.0].into()));
    drop(handle);
    worker.join().unwrap().unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

#[test]
fn a_worker_that_stops_for_good_says_so_and_answers_everyone() {
    let (backend, begun, go) = gated();
    let (handle, worker) = start(options(8, 2), backend);
    let running = infer(&handle, 1, PANICS);
    begun.recv().unwrap();
    let waiting = [infer(&handle, 2, 1.0), infer(&handle, 3, 2.0), infer(&handle, 4, 3.0)];
    go.send(()).unwrap();
    assert!(matches!(wait(running), Outcome::Failed(error) if error.contains("there is one only")));
    let failure = handle.failure().expect("it is published before anyone is answered");
    for answer in waiting {
        assert_eq!(wait(answer), Outcome::Failed(failure.clone()));
    }
    assert_eq!(wait(infer(&handle, 1, 1.0)), Outcome::Failed(failure.clone()), "the intake is closed");
    assert_eq!(worker.join().unwrap().unwrap_err().to_string(), failure);
    assert_eq!(handle.failure(), Some(failure), "the worker's end does not cover up why");
}

#[test]
fn a_backend_that_cannot_be_made_stops_the_worker_before_any_window() {
    let refuse = || Err(model::Error::Inference("no device".into()));
    let panics = || panic!("no device");
    let backends: [Box<dyn Fn() -> (Handle, Worker)>; 2] = [
        Box::new(move || pair(options(8, 4), Metrics::default(), refuse).unwrap()),
        Box::new(move || pair(options(8, 4), Metrics::default(), panics).unwrap()),
    ];
    for make in backends {
        let (handle, worker) = make();
        let mut answer = infer(&handle, 1, 1.0);
        assert!(worker.run().unwrap_err().to_string().contains("no device"));
        assert!(matches!(poll(&mut answer), Poll::Ready(Outcome::Failed(error)) if error.contains("no device")));
        assert!(handle.failure().is_some_and(|failure| failure.contains("no device")));
    }
}

#[test]
fn a_worker_that_is_dropped_unrun_leaves_nobody_waiting() {
    let (handle, worker) = pair(options(8, 4), Metrics::default(), numbers).unwrap();
    let mut answer = infer(&handle, 1, 1.0);
    drop(worker);
    assert!(matches!(poll(&mut answer), Poll::Ready(Outcome::Failed(_))));
    assert!(handle.failure().is_some());
    assert!(matches!(poll(&mut infer(&handle, 1, 1.0)), Poll::Ready(Outcome::Failed(_))));
}

#[test]
fn a_backend_that_answers_too_few_logits_fails_its_windows() {
    struct Silent;
    impl Classifier for Silent {
        fn run(&mut self, _windows: &[f32], _batch: usize) -> Result<Vec<f32>, model::Error> {
            Ok(Vec::new())
        }
    }
    let (handle, worker) = start(options(8, 4), || Ok(Box::new(Silent) as Box<dyn Classifier>));
    assert!(matches!(wait(infer(&handle, 1, 1.0)), Outcome::Failed(error) if error.contains("0 logits")));
    drop(handle);
    worker.join().unwrap().unwrap();
}

#[test]
fn many_legs_on_several_threads_are_all_answered_with_their_own() {
    let options = Options { threads: 3, queue: queue::Options { max_wait: MAX_WAIT / 10, ..options(4096, 8).queue } };
    let (handle, worker) = start(options, numbers);
    let legs: Vec<_> = (0..4_u16)
        .map(|leg| {
            let handle = handle.clone();
            thread::spawn(move || {
                let sent: Vec<_> =
                    (0..250_u16).map(|n| leg * 250 + n).map(|n| (n, infer(&handle, leg.into(), n.into()))).collect();
                for (number, answer) in sent {
                    let outcome = wait(answer);
                    assert!(matches!(&outcome, Outcome::Logits(row) if row[0] == f32::from(number)), "{outcome:?}");
                }
            })
        })
        .collect();
    legs.into_iter().for_each(|leg| leg.join().unwrap());
    handle.close();
    worker.join().unwrap().unwrap();
}

#[test]
fn a_real_network_answers_a_window_alike_alone_and_in_a_batch() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/tiny");
    let runtime = model::onnx::Runtime::load(None).unwrap();
    let model = Arc::new(model::Model::load(runtime, &dir, model::onnx::Options::default()).unwrap());
    let window = |leg: u16| (0..46_200_u32).map(|index| (f32::from(leg) + index as f32).sin()).collect::<Vec<_>>();
    let mut rows = Vec::new();
    for max_batch in [1, 8] {
        let (handle, worker) = pair(options(64, max_batch), Metrics::default(), Arc::clone(&model)).unwrap();
        let mut answers: Vec<_> = (0..10).map(|leg| Box::pin(handle.infer(leg.into(), window(leg)))).collect();
        // A window of another length fails alone.
        let odd = handle.infer(10, vec![0.0; 7]);
        handle.close();
        worker.run().unwrap();
        assert!(matches!(wait(odd), Outcome::Failed(error) if error.contains("7 numbers")));
        rows.push(answers.iter_mut().map(wait).collect::<Vec<_>>());
    }
    for (alone, batched) in rows[0].iter().zip(&rows[1]) {
        let (Outcome::Logits(alone), Outcome::Logits(batched)) = (alone, batched) else {
            panic!("{alone:?} {batched:?}")
        };
        assert_eq!((alone.len(), batched.len()), (6, 6));
        assert!(alone.iter().zip(batched.iter()).all(|(a, b)| (a - b).abs() < 1e-4), "{alone:?} is not {batched:?}");
    }
    assert_ne!(rows[0][0], rows[0][1]);
}

#[test]
fn every_window_is_counted_once() {
    let counts: [Arc<AtomicU64>; 4] = std::array::from_fn(|_| Arc::default());
    let [scored, shed, cancelled, failed] = counts.each_ref().map(|count| Counter::from_arc(Arc::clone(count)));
    let metrics = Metrics {
        scored_total: scored,
        shed_total: shed,
        cancelled_total: cancelled,
        failed_total: failed,
        ..Metrics::default()
    };
    let (handle, worker) = pair(options(6, 4), metrics, numbers).unwrap();
    let mut answers: Vec<_> = [1.0, 2.0, 3.0, FAILS, 5.0, 6.0, 7.0].map(|number| infer(&handle, 1, number)).into();
    drop(answers.pop());
    handle.close();
    let refused = infer(&handle, 1, 8.0);
    worker.run().unwrap();
    answers.into_iter().chain([refused]).for_each(|answer| drop(wait(answer)));
    assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [4, 1, 1, 2]);
}

#[test]
fn refuses_options_that_cannot_run() {
    for (threads, capacity, max_batch, name) in
        [(0, 1, 1, "threads"), (1, 0, 1, "queue_capacity"), (1, 1, 0, "max_batch")]
    {
        let options = Options { threads, ..options(capacity, max_batch) };
        assert_eq!(pair(options, Metrics::default(), numbers).err(), Some(Invalid::Zero(name)));
    }
    let mut slow = Options::default();
    assert_eq!(slow.validate(), Ok(()));
    slow.queue.max_wait = MAX_WAIT + Duration::from_millis(1);
    assert!(matches!(slow.validate(), Err(Invalid::MaxWait { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_window_is_answered_once_with_its_own(
        numbers_sent in prop::collection::vec(prop_oneof![4 => 0.0_f32..9.0, 1 => Just(FAILS), 1 => Just(PANICS)], 1..40),
        capacity in 1..40_usize,
        max_batch in 1..9_usize,
    ) {
        let (handle, worker) = pair(options(capacity, max_batch), Metrics::default(), numbers).unwrap();
        let answers: Vec<_> = numbers_sent.iter().map(|&number| infer(&handle, 1, number)).collect();
        handle.close();
        worker.run().unwrap();
        let shed = numbers_sent.len().saturating_sub(capacity);
        for (index, (mut answer, number)) in answers.into_iter().zip(numbers_sent).enumerate() {
            match poll(&mut answer) {
                Poll::Ready(Outcome::Shed) => prop_assert!(index < shed),
                Poll::Ready(Outcome::Failed(_)) => prop_assert!(number < 0.0),
                Poll::Ready(Outcome::Logits(row)) => prop_assert_eq!(row[0], number),
                Poll::Pending => prop_assert!(false, "window {} was not answered", index),
            }
        }
    }
}
