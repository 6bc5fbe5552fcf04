//! A circuit that calls share: permits, threads, and values that outlive the call.
#![allow(clippy::unwrap_used, clippy::disallowed_types)]

mod common;

use core::any::Any;
use core::cell::Cell;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use steadfast::state::Outcome::{Failure, Success};
use steadfast::state::{
    Admission, BreakerOpen, Circuit, Guarded, Mode, Phase, Settled, SharedCircuit, State,
    Transition,
};
use steadfast::{
    Breaker, Clock as _, Event, Instant, ManualClock, Metrics, Permit, Policy, Reason, Rule, Trip,
};

use common::patiently;

const NOON: Instant = Instant::from_micros(43_200_000_001);
const MINUTE: Duration = Duration::from_secs(60);
const ONCE: Rule = Rule::new(Trip::after(1), MINUTE);

// --- One caller ----------------------------------------------------------------------------------

#[test]
fn a_refusal_says_when_it_will_admit_and_is_right() {
    let (breaker, now) = opened(ONCE);
    let BreakerOpen { admits_at } = breaker.try_acquire(now).unwrap_err();
    assert!(admits_at >= now.after(MINUTE));
    assert_eq!(breaker.remaining(now), MINUTE);
    assert_eq!(breaker.state(now), State::Open);
    let short_of = Instant::from_micros(admits_at.as_micros() - 1);
    assert_eq!(breaker.try_acquire(short_of).unwrap_err(), BreakerOpen { admits_at });
    assert_eq!(breaker.state(short_of), State::Open);
    assert_eq!(breaker.state(admits_at), State::HalfOpen);
    assert_eq!(breaker.remaining(admits_at), Duration::ZERO);
    let probe = breaker.try_acquire(admits_at).unwrap();
    assert_eq!(probe.transition(), Some(Transition::HalfOpened));
    assert_eq!(probe.settle(admits_at, Success), Settled::Moved(Transition::Closed));
    assert_eq!(breaker.state(admits_at), State::Closed);
}

#[test]
fn whoever_only_looks_changes_nothing() {
    let (breaker, now) = opened(ONCE);
    let words = breaker.circuit();
    for seconds in 0..200 {
        let at = now.after(Duration::from_secs(seconds));
        let _ = (breaker.state(at), breaker.remaining(at));
    }
    assert_eq!(breaker.circuit(), words);
}

#[test]
fn whoever_only_looks_leaves_a_cold_word_that_lags_to_whoever_goes() {
    let (opened, now) = opened(ONCE);
    let (hot, _) = opened.circuit().to_bits();
    let breaker = Breaker::resume(ONCE, Circuit::from_bits(hot, 0));
    let words = breaker.circuit();
    assert!(Guarded::peek(&&breaker, now).is_err());
    assert_eq!(breaker.circuit(), words);
}

#[test]
fn a_healthy_breaker_is_not_changed_by_a_call() {
    let breaker = Breaker::with_rule(ONCE);
    for hours in [0, 1, 100, 10_000] {
        let now = NOON.after(Duration::from_secs(3600) * hours);
        let permit = breaker.try_acquire(now).unwrap();
        assert_eq!(permit.transition(), None);
        assert_eq!(permit.settle(now.after(MINUTE), Success), Settled::Counted);
        drop(breaker.try_acquire(now).unwrap());
        assert_eq!(breaker.circuit(), Circuit::CLOSED);
    }
}

#[test]
fn b06_a_straggler_settled_while_open_is_late() {
    let breaker = Breaker::with_rule(ONCE);
    let [one, two, three] = [(); 3].map(|()| breaker.try_acquire(NOON).unwrap());
    assert_eq!(one.settle(NOON, Failure), Settled::Moved(Transition::Opened));
    let words = breaker.circuit();
    assert_eq!(two.settle(NOON, Success), Settled::Late);
    assert_eq!(three.settle(NOON, Failure), Settled::Late);
    assert_eq!(breaker.circuit(), words);
}

#[test]
fn b06_a_straggler_of_an_earlier_closed_phase_is_late() {
    let breaker = Breaker::with_rule(ONCE);
    let [one, two, three] = [(); 3].map(|()| breaker.try_acquire(NOON).unwrap());
    assert_eq!(one.settle(NOON, Failure), Settled::Moved(Transition::Opened));
    let now = breaker.try_acquire(NOON).unwrap_err().admits_at;
    let probe = breaker.try_acquire(now).unwrap();
    assert_eq!(probe.settle(now, Success), Settled::Moved(Transition::Closed));
    assert_eq!(two.settle(now, Success), Settled::Late);
    assert_eq!(three.settle(now, Failure), Settled::Late);
    assert_eq!(breaker.state(now), State::Closed);
}

#[test]
fn an_outcome_is_late_after_sixteen_open_periods() {
    let breaker = Breaker::with_rule(ONCE);
    let later = |minutes| NOON.after(MINUTE * minutes);
    for outcome in [Success, Failure] {
        let permit = breaker.try_acquire(NOON).unwrap();
        assert_eq!(permit.settle(later(17), outcome), Settled::Late);
    }
    // Up to then it counts, and a call of fifteen minutes whatever the rule.
    assert_eq!(breaker.try_acquire(NOON).unwrap().settle(later(16), Success), Settled::Counted);
    let quick = Breaker::new(Trip::after(1), Duration::from_millis(50));
    assert_eq!(quick.try_acquire(NOON).unwrap().settle(later(15), Success), Settled::Counted);
    assert_eq!(quick.try_acquire(NOON).unwrap().settle(later(16), Success), Settled::Late);
}

#[test]
fn a_success_breaks_a_run_of_failures() {
    let breaker = Breaker::new(Trip::after(3), MINUTE);
    let settle = |outcome| breaker.try_acquire(NOON).unwrap().settle(NOON, outcome);
    for outcome in [Failure, Failure, Success, Failure, Failure] {
        assert_eq!(settle(outcome), Settled::Counted);
    }
    assert_eq!(settle(Failure), Settled::Moved(Transition::Opened));
}

#[test]
fn b08_permission_is_taken_once_for_one_attempt() {
    let (breaker, now) = half_open(ONCE.probes(2));
    let clock = ManualClock::new();
    clock.set(now);
    let policy = Policy::new().breaker(&breaker).retry_all();
    let phase = Cell::new(None);
    let answer = clock.block_on(policy.execute(&clock, || {
        phase.set(Some(breaker.circuit().phase()));
        async { Ok::<_, ()>(1) }
    }));
    assert_eq!(answer, Ok(1));
    assert_eq!(phase.get(), Some(Phase::HalfOpen { in_flight: 1, succeeded: 0 }));
    assert_eq!(breaker.circuit().phase(), Phase::HalfOpen { in_flight: 0, succeeded: 1 });
}

#[test]
fn b09_a_permit_dropped_before_the_verdict_is_given_back() {
    let (breaker, now) = half_open(ONCE);
    for _ in 0..1000 {
        let probe = breaker.try_acquire(now).unwrap();
        assert!(breaker.try_acquire(now).is_err());
        drop(probe);
    }
    assert_eq!(breaker.state(now), State::HalfOpen);
}

#[test]
fn b09_a_permit_is_given_back_by_a_panic_too() {
    let (breaker, now) = half_open(ONCE);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _probe = breaker.try_acquire(now).unwrap();
        std::panic::resume_unwind(Box::new("in the middle of the attempt"));
    }));
    assert!(panicked.is_err());
    assert!(breaker.try_acquire(now).is_ok());
}

#[test]
fn b22_a_settled_permit_gives_nothing_back_a_second_time() {
    let (breaker, now) = half_open(ONCE.probes(3));
    let one = breaker.try_acquire(now).unwrap();
    let _two = breaker.try_acquire(now).unwrap();
    assert_eq!(one.settle(now, Success), Settled::Counted);
    assert_eq!(breaker.circuit().phase(), Phase::HalfOpen { in_flight: 1, succeeded: 1 });
}

#[test]
fn b17_a_million_acquisitions_of_an_expired_breaker_make_one_probe() {
    let (breaker, now) = half_open(ONCE);
    let made: Vec<_> = (0..1_000_000).filter_map(|_| breaker.try_acquire(now).ok()).collect();
    assert_eq!(made.len(), 1);
}

#[test]
fn a_changed_rule_is_followed_from_the_next_question_on() {
    let (short, long) = (ONCE, Rule::new(Trip::after(1), MINUTE * 60));
    let circuit = SharedCircuit::new();
    let Admission::Admitted(ticket, None) = circuit.admit(&short, NOON) else {
        panic!("a closed circuit admits");
    };
    // Its attempt began under the short rule, and fails under the long one.
    let settled = circuit.settle(&long, NOON, ticket, Failure);
    assert_eq!(settled, Settled::Moved(Transition::Opened));
    let later = NOON.after(MINUTE * 30);
    assert_eq!(circuit.load().state(&long, later), State::Open);
    assert_eq!(circuit.admit(&long, later), Admission::Refused);
    // An end that the shorter rule cannot explain is none.
    assert!(matches!(circuit.admit(&short, later), Admission::Admitted(..)));
}

// --- What it is told to do -----------------------------------------------------------------------

#[test]
fn it_does_as_it_is_told_and_says_what_that_moved() {
    let breaker = Breaker::with_rule(ONCE);
    assert_eq!(breaker.mode(), Mode::Normal);
    assert_eq!(breaker.force(NOON, Mode::ForcedOpen), Some(Transition::Opened));
    assert_eq!((breaker.mode(), breaker.state(NOON)), (Mode::ForcedOpen, State::Open));
    let nobody_knows = BreakerOpen { admits_at: Instant::MAX };
    assert_eq!(breaker.try_acquire(NOON.after(MINUTE * 60)).unwrap_err(), nobody_knows);
    assert_eq!(breaker.remaining(NOON), MINUTE);
    // Back to normal by way of a probe, which goes at once.
    assert_eq!(breaker.force(NOON, Mode::Normal), None);
    assert_eq!(breaker.state(NOON), State::HalfOpen);
    let probe = breaker.try_acquire(NOON).unwrap();
    assert_eq!(probe.transition(), Some(Transition::HalfOpened));
    assert_eq!(probe.settle(NOON, Success), Settled::Moved(Transition::Closed));
    // Forced closed, failures do not open it.
    assert_eq!(breaker.force(NOON, Mode::ForcedClosed), None);
    for _ in 0..10 {
        let settled = breaker.try_acquire(NOON).unwrap().settle(NOON, Failure);
        assert_eq!((settled, breaker.state(NOON)), (Settled::Counted, State::Closed));
    }
}

#[test]
fn in_shadow_a_permit_says_that_it_would_have_been_refused() {
    let (breaker, now) = opened(ONCE);
    assert_eq!(breaker.force(now, Mode::Shadow), None);
    assert_eq!(breaker.state(now), State::Open);
    let permit = breaker.try_acquire(now).unwrap();
    assert!(permit.shadowed());
    assert_eq!(permit.settle(now, Failure), Settled::Shadowed);
    drop(breaker.try_acquire(now).unwrap());
    // What it would have admitted counts.
    let now = breaker.circuit().force(now, Mode::Normal).0.admits_at(&ONCE, now);
    let probe = breaker.try_acquire(now).unwrap();
    assert!(!probe.shadowed());
    assert!(breaker.try_acquire(now).unwrap().shadowed());
    assert_eq!(probe.settle(now, Success), Settled::Moved(Transition::Closed));
    assert!(!breaker.try_acquire(now).unwrap().shadowed());
}

#[test]
fn reset_it_is_closed_and_counts_from_nothing() {
    let (breaker, now) = opened(ONCE);
    assert_eq!(breaker.reset(), Some(Transition::Closed));
    assert_eq!((breaker.state(now), breaker.circuit().level()), (State::Closed, 0));
    let two = Breaker::new(Trip::after(2), MINUTE);
    let permit = two.try_acquire(NOON).unwrap();
    assert_eq!(two.try_acquire(NOON).unwrap().settle(NOON, Failure), Settled::Counted);
    assert_eq!(two.reset(), None);
    // Under way since before the reset: of another time.
    assert_eq!(permit.settle(NOON, Failure), Settled::Late);
    assert_eq!(two.try_acquire(NOON).unwrap().settle(NOON, Failure), Settled::Counted);
    assert_eq!(two.state(NOON), State::Closed);
}

#[test]
fn a_breaker_that_goes_on_from_words_of_a_forced_mode_does_as_that_says() {
    let (open, now) = opened(ONCE);
    let (half_open, later) = half_open(ONCE);
    let _probe = half_open.try_acquire(later).unwrap();
    for circuit in [Circuit::CLOSED, open.circuit(), half_open.circuit()] {
        let (hot, cold) = circuit.to_bits();
        let forced_open = Breaker::resume(ONCE, Circuit::from_bits(hot, cold | 1 << 30));
        assert_eq!(forced_open.mode(), Mode::ForcedOpen);
        assert!(forced_open.try_acquire(later).is_err());
        forced_open.force(later, Mode::Normal);
        assert!(forced_open.try_acquire(later).is_ok());
        let forced_closed = Breaker::resume(ONCE, Circuit::from_bits(hot, cold | 2 << 30));
        assert_eq!(forced_closed.mode(), Mode::ForcedClosed);
        assert!(!forced_closed.try_acquire(now).unwrap().shadowed());
        assert_eq!(forced_closed.state(now), State::Closed);
    }
}

#[test]
fn an_execution_that_a_forced_breaker_refuses_knows_of_no_time_to_retry() {
    let (breaker, clock, metrics) = (Breaker::with_rule(ONCE), ManualClock::new(), Metrics::new());
    let metrics: &Metrics = &metrics;
    breaker.force(clock.now(), Mode::ForcedOpen);
    let told = Mutex::new(None);
    let observe = |event: &Event| *told.lock().unwrap() = Some(*event);
    let policy = Policy::new().breaker(&breaker).metrics(metrics).observer(&observe).retry_all();
    let call = policy.execute(&clock, || async { Ok::<u32, u32>(1) });
    let error = clock.block_on(call).unwrap_err();
    assert_eq!((error.stopped, error.retry_at), (Reason::BreakerOpen, None));
    let told = told.lock().unwrap().take();
    assert!(matches!(told, Some(Event::Refused { wait: None, .. })), "{told:?}");
    // Shadowed attempts are neither late nor refused.
    breaker.force(clock.now(), Mode::Shadow);
    let probe = breaker.try_acquire(clock.now()).unwrap();
    assert_eq!(clock.block_on(policy.execute(&clock, || async { Ok::<_, u32>(2) })), Ok(2));
    drop(probe);
    let seen = metrics.snapshot();
    assert_eq!((seen.refusals.breaker_open, seen.breaker.late_outcomes), (1, 0));
}

#[test]
fn while_threads_force_it_to_and_fro_nobody_gets_stuck_and_the_last_word_holds() {
    for mode in Mode::ALL {
        let rule = Rule::new(Trip::after(2), Duration::from_millis(50)).probes(2);
        let breaker = Breaker::with_rule(rule);
        together(|thread| {
            for n in 0..500_u32 {
                let now = NOON.after(Duration::from_millis(u64::from(n)));
                if thread == 0 {
                    breaker.force(now, Mode::ALL[n as usize % 4]);
                } else if thread == 1 && n % 16 == 0 {
                    breaker.reset();
                } else if let Ok(permit) = breaker.try_acquire(now) {
                    let outcome = if n % 3 == 0 { Success } else { Failure };
                    let _ = permit.settle(now, outcome);
                }
            }
        });
        let now = NOON.after(MINUTE * 60);
        breaker.force(now, mode);
        assert_eq!(breaker.mode(), mode);
        match mode {
            Mode::ForcedOpen => assert!(breaker.try_acquire(now).is_err()),
            Mode::ForcedClosed => assert!(breaker.circuit().is_closed()),
            // An hour later, whatever was under way is over.
            Mode::Normal | Mode::Shadow => {
                let _ = breaker.try_acquire(now);
                let later = now.after(MINUTE * 10);
                assert!(breaker.try_acquire(later).is_ok());
            }
        }
    }
}

// --- Values that outlive the call ----------------------------------------------------------------

/// What a stream of answers looks like to whoever holds it: it ends some time, or is dropped.
struct Chunks<B: core::borrow::Borrow<Breaker>> {
    left: u32,
    permit: Option<Permit<B>>,
}

impl<B: core::borrow::Borrow<Breaker>> Chunks<B> {
    fn next(&mut self, now: Instant) -> Option<u32> {
        if self.left == 0 {
            let _ = self.permit.take()?.settle(now, Success);
            return None;
        }
        self.left -= 1;
        Some(self.left)
    }
}

static SHARED: Breaker = Breaker::with_rule(ONCE);

#[test]
fn a_permit_lives_in_a_static_value_and_gives_back_when_that_is_dropped() {
    let (breaker, now) = half_open(ONCE);
    let breaker = Arc::new(breaker);
    let permit = Permit::try_acquire(Arc::clone(&breaker), now).unwrap();
    let stream: Box<dyn Any + Send + 'static> = Box::new(Chunks { left: 3, permit: Some(permit) });
    assert!(breaker.try_acquire(now).is_err());
    thread::spawn(move || drop(stream)).join().unwrap();
    assert_eq!(Arc::strong_count(&breaker), 1);
    assert!(breaker.try_acquire(now).is_ok());
}

#[test]
fn a_permit_of_a_static_breaker_settles_at_the_end_of_a_stream() {
    let permit = SHARED.try_acquire(NOON).unwrap();
    assert_eq!(permit.settle(NOON, Failure), Settled::Moved(Transition::Opened));
    let now = SHARED.try_acquire(NOON).unwrap_err().admits_at;
    let permit = Permit::try_acquire(&SHARED, now).unwrap();
    let mut stream: Box<dyn Any + Send> = Box::new(Chunks { left: 2, permit: Some(permit) });
    let chunks = stream.downcast_mut::<Chunks<&'static Breaker>>().unwrap();
    assert_eq!((chunks.next(now), chunks.next(now)), (Some(1), Some(0)));
    assert_eq!(SHARED.state(now), State::HalfOpen);
    assert_eq!(chunks.next(now), None);
    assert_eq!(SHARED.state(now), State::Closed);
}

#[test]
fn a_breaker_takes_24_bytes_and_goes_between_threads() {
    const fn goes_between_threads<T: Send + Sync + 'static>() {}
    goes_between_threads::<Breaker>();
    goes_between_threads::<SharedCircuit>();
    goes_between_threads::<Permit<&'static Breaker>>();
    goes_between_threads::<Permit<Arc<Breaker>>>();
    assert_eq!(size_of::<Breaker>(), 24);
}

// --- Many callers --------------------------------------------------------------------------------

const THREADS: u32 = 8;

#[test]
fn b07_eight_threads_never_have_more_probes_in_flight_than_configured() {
    for probes in [1, 2, 3, 7] {
        let (breaker, now) = half_open(ONCE.probes(probes).lease(MINUTE * 60));
        let in_flight = AtomicU32::new(0);
        together(|_| {
            for made in 0..2000 {
                let probe = patiently(|| breaker.try_acquire(now).ok());
                // Counted after it is taken and before it is given back: never more than there are.
                let others = in_flight.fetch_add(1, Relaxed);
                assert!(others < probes, "{others} others of {probes}");
                if made % 16 == 0 {
                    thread::yield_now();
                }
                in_flight.fetch_sub(1, Relaxed);
                drop(probe);
            }
        });
        assert!(matches!(breaker.circuit().phase(), Phase::HalfOpen { in_flight: 0, .. }));
    }
}

#[test]
fn b07_a_single_probe_stays_single_through_failures_and_releases() {
    let rule = Rule::new(Trip::after(1), Duration::from_millis(50)).lease(MINUTE * 60 * 24);
    let (breaker, now) = half_open(rule);
    let clock = ManualClock::new();
    clock.set(now);
    let in_flight = AtomicU32::new(0);
    // When each of them last read the clock, in microseconds.
    let readings = [const { AtomicU64::new(0) }; THREADS as usize];
    readings.iter().for_each(|reading| reading.store(now.as_micros(), Relaxed));
    let oldest = || Instant::from_micros(readings.iter().map(|at| at.load(Relaxed)).min().unwrap());
    together(|number| {
        let reading = &readings[number as usize];
        // One of them moves the clock; the others read it, some of them late: a minute at most, for
        // whoever is later still may take a probe under way for one that is overdue.
        if number == 0 {
            reading.store(u64::MAX, Relaxed);
            while oldest() < Instant::MAX {
                patiently(|| (clock.now() < oldest().after(MINUTE)).then_some(()));
                clock.advance(Duration::from_millis(10));
                thread::yield_now();
            }
            return;
        }
        for made in 0..100 {
            let (probe, now) = patiently(|| {
                let now = clock.now();
                reading.store(now.as_micros(), Relaxed);
                Some((breaker.try_acquire(now).ok()?, now))
            });
            assert_eq!(in_flight.fetch_add(1, Relaxed), 0);
            if made % 16 == 0 {
                thread::yield_now();
            }
            in_flight.fetch_sub(1, Relaxed);
            if made % 3 == 0 {
                assert_eq!(probe.settle(now, Failure), Settled::Moved(Transition::Opened));
            }
        }
        reading.store(u64::MAX, Relaxed);
    });
}

#[test]
fn as_many_successes_as_probes_close_it_once_whoever_reports_them() {
    for _ in 0..500 {
        let (breaker, now) = half_open(ONCE.probes(THREADS));
        let (closed, half_opened) = (AtomicU32::new(0), AtomicU32::new(0));
        together(|_| {
            let probe = breaker.try_acquire(now).unwrap();
            half_opened.fetch_add(u32::from(probe.transition().is_some()), Relaxed);
            let settled = probe.settle(now, Success);
            let moved = settled == Settled::Moved(Transition::Closed);
            closed.fetch_add(u32::from(moved), Relaxed);
        });
        assert_eq!((closed.load(Relaxed), half_opened.load(Relaxed)), (1, 1));
        assert_eq!(breaker.state(now), State::Closed);
    }
}

#[test]
fn b11_two_threads_that_trip_it_at_once_make_one_transition() {
    for failures in [1, 2] {
        for _ in 0..1000 {
            let rule = Rule::new(Trip::after(failures), MINUTE);
            let (breaker, moved) = (Breaker::with_rule(rule), AtomicU32::new(0));
            let start = Barrier::new(2);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let permit = breaker.try_acquire(NOON).unwrap();
                        start.wait();
                        let settled = permit.settle(NOON, Failure);
                        let opened = settled == Settled::Moved(Transition::Opened);
                        moved.fetch_add(u32::from(opened), Relaxed);
                    });
                }
            });
            assert_eq!(moved.load(Relaxed), 1);
            assert_eq!((breaker.state(NOON), breaker.circuit().level()), (State::Open, 1));
        }
    }
}

#[test]
fn b11_of_eight_threads_that_find_it_expired_one_makes_the_probe() {
    for _ in 0..500 {
        let (breaker, now) = half_open(ONCE);
        let start = Barrier::new(THREADS as usize);
        let made: Vec<_> = thread::scope(|scope| {
            let threads = [(); THREADS as usize].map(|()| {
                scope.spawn(|| {
                    start.wait();
                    breaker.try_acquire(now)
                })
            });
            threads.map(|thread| thread.join().unwrap()).into_iter().flatten().collect()
        });
        assert_eq!(made.len(), 1);
        assert!(made.iter().all(|probe| probe.transition() == Some(Transition::HalfOpened)));
    }
}

#[test]
fn no_outcome_of_many_threads_is_lost() {
    // 22 failures among 22 attempts leave it closed; the 23rd opens it.
    for _ in 0..200 {
        let breaker = Breaker::new(Trip::after(23), MINUTE);
        together(|thread| {
            for _ in 0..if thread < 6 { 3 } else { 2 } {
                let settled = breaker.try_acquire(NOON).unwrap().settle(NOON, Failure);
                assert_eq!(settled, Settled::Counted);
            }
        });
        assert_eq!(breaker.circuit().phase(), Phase::Closed { history: (1 << 22) - 1 });
        let last = breaker.try_acquire(NOON).unwrap();
        assert_eq!(last.settle(NOON, Failure), Settled::Moved(Transition::Opened));
    }
}

// --- Helpers -------------------------------------------------------------------------------------

/// An open breaker, and when it opened.
fn opened(rule: Rule) -> (Breaker, Instant) {
    let breaker = Breaker::with_rule(rule);
    let _ = breaker.try_acquire(NOON).unwrap().settle(NOON, Failure);
    assert_eq!(breaker.state(NOON), State::Open);
    (breaker, NOON)
}

/// An open breaker, and when its period is over.
fn half_open(rule: Rule) -> (Breaker, Instant) {
    let (breaker, now) = opened(rule);
    let BreakerOpen { admits_at } = breaker.try_acquire(now).unwrap_err();
    (breaker, admits_at)
}

/// Runs `work` on eight threads that start together.
fn together(work: impl Fn(u32) + Sync) {
    let start = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread);
            });
        }
    });
}
