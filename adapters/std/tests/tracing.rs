//! Executions as spans, what they do as events, and nothing of what they are about.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::cell::Cell;
use core::fmt::{Debug, Write as _};
use core::future::{pending, ready};
use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use steadfast::orchestrator::{Key, Registration};
use steadfast::state::Mode;
use steadfast::{
    Breaker, Class, Clock as _, ManualClock, OrElseError, Orchestrator, Policy, Strategy, Trip,
    Verdict,
};
use steadfast_std::Resilience;
use steadfast_std::Stopped;
use steadfast_std::observe::{Trace as _, Tracing};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber, subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

// --- Spans ----------------------------------------------------------------------------------------

#[test]
fn an_execution_is_a_span_with_its_operation_strategy_attempts_and_outcome() {
    let (table, clock) = table();
    let handle = table.get("ask").unwrap().retry_all().traced();
    let lines = seen(|| {
        let calls = Cell::new(0);
        let second = || ready(if calls.replace(1) == 0 { Err(SECRET) } else { Ok(1) });
        assert_eq!(clock.block_on(handle.execute(&clock, second)), Ok(1));
    });
    assert_eq!(
        lines,
        [
            "DEBUG steadfast retry operation=ask attempt=1 class=transient wait_ms=2000 in execution",
            "INFO steadfast execution operation=ask strategy=balanced attempts=2 outcome=succeeded",
        ]
    );
}

#[test]
fn every_way_to_execute_is_a_span() {
    let (table, clock) = table();
    let handle = table.get("ask").unwrap().retry_all().traced();
    let spans = |run: &dyn Fn() -> bool| {
        let lines = seen(|| assert!(run()));
        lines.into_iter().filter(|line| line.contains("steadfast execution ")).collect::<Vec<_>>()
    };
    let attempts = |made: &str| {
        let begin = "INFO steadfast execution operation=ask strategy=balanced";
        vec![format!("{begin} attempts={made} outcome=succeeded")]
    };
    let once = || clock.block_on(handle.execute_once(&clock, ready(Ok::<_, &str>(())))).is_ok();
    assert_eq!(spans(&once), attempts("1"));
    let mutable = || {
        let mut calls = 0;
        let second = async || {
            calls += 1;
            if calls == 2 { Ok(()) } else { Err(SECRET) }
        };
        clock.block_on(handle.execute_mut(&clock, second)).is_ok()
    };
    assert_eq!(spans(&mutable), attempts("2"));
    let blocking = || {
        handle
            .execute_blocking(&clock, |made| if made.attempt == 2 { Ok(()) } else { Err("") })
            .is_ok()
    };
    assert_eq!(spans(&blocking), attempts("2"));
}

#[test]
fn an_execution_that_gives_up_says_why() {
    let (table, clock) = table();
    let never = |_: &&str| Verdict::of(Class::Permanent);
    let handle = table.get("ask").unwrap().strategy(Strategy::Critical).classify(never).traced();
    let lines = seen(|| {
        let failed = clock.block_on(handle.execute(&clock, || ready(Err::<u8, _>(SECRET))));
        assert_eq!(failed.unwrap_err().last, Some(SECRET));
        table.breaker("ask").unwrap().force(clock.now(), Mode::ForcedOpen);
        let refused = handle.execute_blocking(&clock, |_| Err::<u8, _>(SECRET));
        assert_eq!(refused.unwrap_err().attempts, 0);
    });
    assert_eq!(
        lines,
        [
            "INFO steadfast execution operation=ask strategy=critical stopped=not worth a retry \
             class=permanent attempts=1 outcome=failed",
            "DEBUG steadfast refused operation=ask stage=Breaker reason=breaker open in execution",
            "INFO steadfast execution operation=ask strategy=critical stopped=breaker open \
             attempts=0 outcome=refused",
        ]
    );
}

#[test]
fn an_answer_of_the_fallback_is_told_from_one_of_the_operation() {
    let (table, clock) = table();
    let handle =
        table.get("ask").unwrap().classify(|_: &u8| Verdict::of(Class::Permanent)).traced();
    let fails = || ready(Err::<u8, u8>(1));
    let answers = |_| Ok::<u8, OrElseError<u8, ()>>(2);
    let stands = |error| Err::<u8, OrElseError<u8, ()>>(OrElseError::GaveUp(error));
    let lines = seen(|| {
        assert_eq!(clock.block_on(handle.execute_or_else(&clock, fails, answers)), Ok(2));
        assert!(clock.block_on(handle.execute_or_else(&clock, fails, stands)).is_err());
        let later = |error| ready(answers(error));
        assert_eq!(clock.block_on(handle.execute_or_else_async(&clock, fails, later)), Ok(2));
        assert_eq!(handle.execute_blocking_or_else(&clock, |_| Err(1), answers), Ok(2));
        assert_eq!(handle.execute_blocking_or_else(&clock, |_| Ok(1), answers), Ok(1));
        assert_eq!(clock.block_on(handle.execute_or_else(&clock, || ready(Ok(1)), answers)), Ok(1));
    });
    let outcomes: Vec<_> = lines.iter().map(|line| line.rsplit_once('=').unwrap().1).collect();
    let expected = ["fell_back", "failed", "fell_back", "fell_back", "succeeded", "succeeded"];
    assert_eq!(outcomes, expected);
}

#[test]
fn a_dropped_execution_is_cancelled() {
    let (table, clock) = table();
    let handle = table.get("ask").unwrap().retry_all().traced();
    let lines = seen(|| {
        let mut execution = Box::pin(handle.execute(&clock, pending::<Result<u8, u8>>));
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(&mut execution).poll(&mut context).is_pending());
        drop(execution);
    });
    let cancelled =
        "INFO steadfast execution operation=ask strategy=balanced attempts=1 outcome=cancelled";
    assert_eq!(lines, [cancelled]);
}

#[test]
fn a_call_of_a_resilient_function_is_a_span() {
    static TABLE: Orchestrator<4> = Orchestrator::new().watched_by(&Tracing);
    static CLOCK: ManualClock = ManualClock::new();

    #[steadfast::resilient("later", retry_all, orchestrator = &TABLE, clock = &CLOCK)]
    async fn later(calls: &Cell<u32>) -> Result<u32, Ended> {
        let made = calls.replace(calls.get() + 1);
        if made == 0 { Err(Ended) } else { Ok(made) }
    }

    async fn spare(_: Ended) -> Result<u32, Ended> {
        Ok(7)
    }

    #[steadfast::resilient(
        "spared",
        strategy = "conservative",
        retry_all,
        fallback = spare,
        orchestrator = &TABLE,
        clock = &CLOCK
    )]
    async fn spared() -> Result<u32, Ended> {
        Err(Ended)
    }

    fn never(_: Ended) -> Result<u32, Ended> {
        Err(Ended)
    }

    #[steadfast::resilient("now", retry_all, orchestrator = &TABLE, clock = &CLOCK)]
    fn now() -> Result<u32, Ended> {
        Ok(1)
    }

    #[steadfast::resilient(
        "refused",
        retry_all,
        fallback = never,
        orchestrator = &TABLE,
        clock = &CLOCK
    )]
    fn refused() -> Result<u32, Ended> {
        Ok(1)
    }

    assert_eq!(refused(), Ok(1), "which registers it");
    TABLE.breaker("refused").unwrap().force(CLOCK.now(), Mode::ForcedOpen);
    let lines = seen(|| {
        assert_eq!(CLOCK.block_on(later(&Cell::new(0))), Ok(1));
        assert_eq!(CLOCK.block_on(spared()), Ok(7));
        assert_eq!(now(), Ok(1));
        assert_eq!(refused(), Err(Ended));
    });
    let spans: Vec<_> = lines.iter().filter(|line| line.contains(" execution ")).collect();
    assert_eq!(
        spans,
        [
            "INFO steadfast execution operation=later strategy=balanced attempts=2 outcome=succeeded",
            "INFO steadfast execution operation=spared strategy=conservative \
             stopped=no attempts left class=transient attempts=2 outcome=fell_back",
            "INFO steadfast execution operation=now strategy=balanced attempts=1 outcome=succeeded",
            "INFO steadfast execution operation=refused strategy=balanced stopped=breaker open \
             attempts=0 outcome=refused",
        ]
    );
    assert!(lines.iter().any(|line| line.contains(" retry ") && line.ends_with(" in execution")));
}

#[test]
fn a_traced_execution_can_be_sent_when_its_operation_can() {
    static TABLE: Orchestrator<1> = Orchestrator::new().operation("ask", Registration::new());
    static CLOCK: ManualClock = ManualClock::new();
    fn sent<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    let handle = TABLE.get("ask").unwrap().retry_all().traced();
    let answered = sent(handle.execute(&CLOCK, || async { Ok::<u8, u8>(1) }));
    let awaited = sent(async move { handle.execute(&CLOCK, || async { Ok::<u8, u8>(1) }).await });
    assert_eq!((CLOCK.block_on(answered), CLOCK.block_on(awaited)), (Ok(1), Ok(1)));
}

// --- Events ---------------------------------------------------------------------------------------

#[test]
fn a_breaker_that_opens_is_loud_and_what_repeats_itself_is_not() {
    let (table, clock) = table();
    let handle = table.get("frail").unwrap().retry_all();
    let lines = seen(|| {
        let fails = || ready(Err::<u8, _>(SECRET));
        assert!(clock.block_on(handle.execute(&clock, fails)).is_err());
        assert!(clock.block_on(handle.execute(&clock, fails)).is_err());
        clock.advance(Duration::from_secs(61));
        assert!(clock.block_on(handle.execute(&clock, || ready(Ok::<_, &str>(1)))).is_ok());
    });
    assert_eq!(
        lines,
        [
            "WARN steadfast breaker opened operation=frail",
            "DEBUG steadfast refused operation=frail stage=Retry reason=breaker open wait_ms=60015",
            "DEBUG steadfast refused operation=frail stage=Breaker reason=breaker open wait_ms=60015",
            "INFO steadfast breaker half-open operation=frail",
            "INFO steadfast breaker closed operation=frail",
        ]
    );
}

#[test]
fn operations_of_a_resilience_tell_without_being_told_to() {
    let clock = ManualClock::new();
    let frail = Registration::new().given(Key::Attempts, 1).given(Key::Failures, 1);
    let handle = Resilience::new().register("frail", frail).unwrap().retry_all();
    let lines = seen(|| {
        assert!(clock.block_on(handle.execute(&clock, || ready(Err::<u8, _>(SECRET)))).is_err());
    });
    assert_eq!(lines, ["WARN steadfast breaker opened operation=frail"]);
}

#[test]
fn a_policy_without_a_name_says_the_same_without_one() {
    let clock = ManualClock::new();
    let breaker = Breaker::new(Trip::after(1), Duration::from_secs(60));
    let policy = Policy::new().breaker(&breaker).observer(&Tracing).retry_all();
    let lines = seen(|| {
        assert!(policy.execute_blocking(&clock, |_| Err::<u8, _>(SECRET)).is_err());
    });
    assert_eq!(lines, ["WARN steadfast breaker opened"]);
}

#[test]
fn no_argument_answer_or_error_text_goes_out() {
    let (table, clock) = table();
    let lines = seen(|| {
        for name in ["ask", "frail"] {
            let handle = table.get(name).unwrap().retry_all().traced();
            let operation = || async { if name == "ask" { Ok(SECRET) } else { Err(SECRET) } };
            for _ in 0..3 {
                let _ = clock.block_on(handle.execute(&clock, operation));
                clock.advance(Duration::from_secs(61));
            }
        }
    });
    assert!(lines.len() > 6, "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains(SECRET)), "{lines:?}");
}

// --- Helpers --------------------------------------------------------------------------------------

fn table() -> (Orchestrator<4>, ManualClock) {
    let frail = Registration::new().given(Key::Attempts, 2).given(Key::Failures, 1);
    let table = Orchestrator::new()
        .operation("ask", Registration::new())
        .operation("frail", frail)
        .watched_by(&Tracing);
    let clock = ManualClock::new();
    clock.set_random(0);
    (table, clock)
}

/// What `tracing` is told meanwhile, at every level: events, and spans at their end.
fn seen(run: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), run);
    let seen = lines.0.lock().unwrap();
    seen.clone()
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

/// Fields as ` name=value`, the message first.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.message, " {value:?}").unwrap(),
            name => write!(self.others, " {name}={value:?}").unwrap(),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.others, " {}={value}", field.name()).unwrap();
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: LayerContext<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, S>) {
        let (metadata, mut fields) = (event.metadata(), Fields::default());
        event.record(&mut fields);
        let span = context.lookup_current();
        let within = span.map(|span| format!(" in {}", span.name())).unwrap_or_default();
        let Fields { message, others } = fields;
        let line = format!("{} {}{message}{others}{within}", metadata.level(), metadata.target());
        self.0.lock().unwrap().push(line);
    }

    fn on_close(&self, id: Id, context: LayerContext<'_, S>) {
        let span = context.span(&id).unwrap();
        let (metadata, extensions) = (span.metadata(), span.extensions());
        let others = &extensions.get::<Fields>().unwrap().others;
        let line =
            format!("{} {} {}{others}", metadata.level(), metadata.target(), metadata.name());
        self.0.lock().unwrap().push(line);
    }
}

/// The error of a function without anything to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended;

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Self {
        Self
    }
}

const SECRET: &str = "sk-secret";
