//! How the conversion is kept, with a stand-in for the converting itself.

use std::sync::mpsc::{Receiver, channel};

use lilims_ipc::Share;

use super::*;

/// Fails a test that would hang; nothing here takes a fraction of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A converter, and what the page hears.
fn converter() -> (Converter, Receiver<Option<Conversion>>) {
    let (sender, heard) = channel();
    let sender = Mutex::new(sender);
    let notify = move |conversion| {
        let _ = sender.lock().send(conversion);
    };
    (Converter::new(notify), heard)
}

fn task() -> Task {
    let request = ConversionRequest {
        name: "m".into(),
        target: "Q4_0".into(),
        is_weighed: true,
        is_measured: true,
        agreed_removals: Vec::new(),
    };
    Task { request, title: "M".into(), source_bytes: 9 }
}

fn done() -> ConversionState {
    ConversionState::Done { name: "m-q4_0".into(), size_bytes: 5, figures: None, unmeasured: None }
}

/// What `heard` says first that is as wanted.
fn wait(
    heard: &Receiver<Option<Conversion>>,
    mut wanted: impl FnMut(&ConversionState) -> bool,
) -> ConversionState {
    loop {
        let state = heard.recv_timeout(PATIENCE).expect("an event").expect("a conversion").state;
        if wanted(&state) {
            return state;
        }
    }
}

fn has_ended(state: &ConversionState) -> bool {
    !matches!(state, ConversionState::Running { .. })
}

/// Runs until it is cancelled.
fn until_cancelled(cancel: &AtomicBool) -> Result<ConversionState, Error> {
    while !cancel.load(Ordering::Relaxed) {
        thread::yield_now();
    }
    Ok(ConversionState::Cancelled)
}

#[test]
fn a_second_start_is_refused_and_the_first_goes_on() {
    let (converter, heard) = converter();
    converter.start(task(), |cancel, _| until_cancelled(cancel)).unwrap();
    assert!(converter.converts("m") && !converter.converts("n"));
    let error = converter.start(task(), |_, _| Ok(done())).unwrap_err();
    let (title, target) = (Some("M".to_owned()), Some("Q4_0".to_owned()));
    assert_eq!(error.problem, Problem::Converting { title, target });
    assert_eq!(converter.check_free(), Err(error));
    converter.clear();
    assert!(converter.conversion().is_some(), "one that runs is not forgotten");
    converter.cancel();
    assert_eq!(wait(&heard, has_ended), ConversionState::Cancelled);
    assert!(converter.check_free().is_ok() && !converter.converts("m"));
    converter.start(task(), |_, _| Ok(done())).unwrap();
    assert_eq!(wait(&heard, has_ended), done());
    assert_eq!(converter.conversion().unwrap().id, 2);
    converter.clear();
    assert_eq!(converter.conversion(), None);
}

#[test]
fn the_page_hears_of_each_step_once_and_then_now_and_then() {
    let (converter, heard) = converter();
    converter
        .start(task(), |_, on_stage| {
            (0..1000).for_each(|done| {
                on_stage(ConversionStage::Calibrating(Share { done, total: 1000 }))
            });
            on_stage(ConversionStage::Measuring(Share { done: 0, total: 2 }));
            Ok(done())
        })
        .unwrap();
    wait(&heard, |state| {
        matches!(state, ConversionState::Running { stage: ConversionStage::Starting, step: 1, .. })
    });
    let mut n_told = 0;
    wait(&heard, |state| {
        n_told += 1;
        matches!(
            state,
            ConversionState::Running {
                stage: ConversionStage::Measuring(_),
                step: 3,
                n_steps: 3,
                ..
            }
        )
    });
    assert!(n_told < 50, "heard {n_told} times of 1000");
    assert_eq!(wait(&heard, has_ended), done());
}

#[test]
fn failures_and_panics_end_it() {
    let (converter, heard) = converter();
    converter.start(task(), |_, _| panic!("as the test asked")).unwrap();
    let failed = |state: &ConversionState| matches!(state, ConversionState::Failed { .. });
    wait(&heard, failed);
    converter.start(task(), |_, _| Err(Error::internal("x"))).unwrap();
    wait(&heard, failed);
    converter.start(task(), |_, _| Ok(done())).unwrap();
    assert_eq!(wait(&heard, has_ended), done());
}

#[test]
fn closing_the_window_waits_for_the_end() {
    let (converter, _heard) = converter();
    converter.start(task(), |cancel, _| until_cancelled(cancel)).unwrap();
    converter.shut_down();
    assert_eq!(converter.conversion().unwrap().state, ConversionState::Cancelled);
}

#[test]
fn a_step_says_how_long_it_will_take_once_it_knows() {
    let mut pace = Pace::default();
    let at = |done| ConversionStage::Measuring(Share { done, total: 100 });
    pace.advance(&at(0));
    assert_eq!(pace.seconds_left(&at(50)), None, "too early");
    pace.started = pace.started.and_then(|now| now.checked_sub(Duration::from_secs(10)));
    assert_eq!(pace.seconds_left(&at(1)), None, "too little is done");
    let left = pace.seconds_left(&at(50)).unwrap();
    assert!((10..12).contains(&left), "{left}");
}
