//! `#[resilient]`: functions as operations, with the signature that they had.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::cell::Cell;
use core::fmt::Display;
use core::future::pending;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;
use std::thread;

use steadfast::orchestrator::{Config, Key, Origin, RegisterError, Registration};
use steadfast::state::Mode;
use steadfast::{
    Class, Classify, Clock as _, Instant, ManualClock, Orchestrator, Reason, Strategy, Verdict,
};
use steadfast_std::{Resilience, Stopped, Why, install, operation, resilient};

#[derive(Clone, Debug, PartialEq, Eq)]
enum AppError {
    Down(&'static str),
    Wrong,
    Stopped(Stopped),
}

impl Classify for AppError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Down(_) => Verdict::of(Class::Transient),
            Self::Wrong | Self::Stopped(_) => Verdict::of(Class::Permanent),
        }
    }
}

impl From<Stopped> for AppError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

// --- Attempts -------------------------------------------------------------------------------------

#[test]
fn an_async_function_is_attempted_by_its_strategy_until_it_answers() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();
    static CALLS: AtomicU32 = AtomicU32::new(0);

    #[resilient("summarize", strategy = "critical", orchestrator = &TABLE, clock = &CLOCK)]
    async fn summarize(text: &str, words: usize) -> Result<String, AppError> {
        if CALLS.fetch_add(1, Relaxed) < 5 {
            return Err(AppError::Down("not yet"));
        }
        Ok(text.split(' ').take(words).collect())
    }

    assert!(TABLE.is_empty(), "registered when first called");
    let answer = CLOCK.block_on(summarize("a b c", 2));
    assert_eq!((answer.as_deref(), CALLS.load(Relaxed)), (Ok("ab"), 6), "balanced makes 3");
    let effective = TABLE.effective("summarize").unwrap();
    assert_eq!(effective.strategy(), Strategy::Critical);
    assert_eq!(effective.named_by(), Origin::Registered);
    assert_eq!(TABLE.metrics("summarize").unwrap().snapshot().retries, 5);
    assert!(CLOCK.now() > Instant::from_micros(5 * 3_000_000), "it waited between them");
}

#[test]
fn a_plain_function_is_attempted_and_blocks() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();

    #[resilient("count", orchestrator = &TABLE, clock = &CLOCK)]
    fn count(calls: &Cell<u32>) -> Result<u32, AppError> {
        calls.set(calls.get() + 1);
        if calls.get() < 3 { Err(AppError::Down("not yet")) } else { Ok(calls.get()) }
    }

    assert_eq!(count(&Cell::new(0)), Ok(3));
    assert_eq!(TABLE.effective("count").unwrap().named_by(), Origin::DefaultStrategy);
    assert!(CLOCK.now() > Instant::from_micros(2 * 2_000_000), "it waited between them");
}

#[test]
fn the_operations_own_last_error_is_returned_as_it_is() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();

    #[resilient("fail", strategy = "conservative", orchestrator = &TABLE, clock = &CLOCK)]
    fn fail(calls: &Cell<u32>) -> Result<(), AppError> {
        calls.set(calls.get() + 1);
        Err(AppError::Down(["first", "second"][calls.get() as usize - 1]))
    }

    assert_eq!(fail(&Cell::new(0)), Err(AppError::Down("second")));
}

#[test]
fn where_no_attempt_said_anything_the_error_says_why() {
    static TABLE: Orchestrator<4> = Orchestrator::new().operation("mute", Registration::new());
    static CLOCK: ManualClock = ManualClock::new();

    #[resilient("mute", orchestrator = &TABLE, clock = &CLOCK)]
    async fn mute() -> Result<u8, AppError> {
        pending().await
    }

    let Err(AppError::Stopped(stopped)) = CLOCK.block_on(mute()) else { panic!("it is stopped") };
    assert_eq!((stopped.operation, stopped.attempts), ("mute", 1));
    assert_eq!((stopped.why, stopped.class), (Why::GaveUp(Reason::Window), Some(Class::Timeout)));
    assert_eq!(stopped.to_string(), "mute: retry window over after 1 attempt (timeout)");

    TABLE.breaker("mute").unwrap().force(CLOCK.now(), Mode::ForcedOpen);
    let Err(AppError::Stopped(stopped)) = CLOCK.block_on(mute()) else { panic!("it is refused") };
    assert_eq!((stopped.why, stopped.attempts), (Why::GaveUp(Reason::BreakerOpen), 0));
    assert_eq!(stopped.retry_at, None, "nobody knows when");
    assert_eq!(stopped.to_string(), "mute: breaker open, no attempt made");
}

// --- Signatures -----------------------------------------------------------------------------------

#[derive(Debug)]
struct Counted<'c>(&'c AtomicU32);

impl Clone for Counted<'_> {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Relaxed);
        Self(self.0)
    }
}

#[test]
fn an_argument_is_cloned_once_for_each_attempt() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();

    #[resilient("consume", orchestrator = &TABLE, clock = &CLOCK)]
    async fn consume(counted: Counted<'_>) -> Result<(), AppError> {
        // Moved, and so gone when the next attempt begins.
        let Counted(_) = { counted };
        Err(AppError::Down("always"))
    }

    let clones = AtomicU32::new(0);
    assert_eq!(CLOCK.block_on(consume(Counted(&clones))), Err(AppError::Down("always")));
    assert_eq!(clones.load(Relaxed), 3);
}

#[test]
fn methods_generics_patterns_and_question_marks_stay_as_they_are() {
    static TABLE: Orchestrator<8> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();

    struct Client {
        prefix: String,
    }

    impl Client {
        #[resilient("method", orchestrator = &TABLE, clock = &CLOCK)]
        async fn method<T, const N: usize>(
            &self,
            mut list: Vec<T>,
            (first, _): (T, u8),
            _: [u8; N],
            last: impl Display + Clone,
        ) -> Result<Vec<String>, AppError>
        where
            T: Display + Clone,
        {
            list.push(first);
            let mut shown: Vec<_> =
                list.iter().map(|item| format!("{}{item}", self.prefix)).collect();
            shown.push(self.plain(&last.to_string())?.to_owned());
            Ok(shown)
        }

        #[resilient("plain", orchestrator = &TABLE, clock = &CLOCK)]
        fn plain<'t>(&self, text: &'t str) -> Result<&'t str, AppError> {
            let stripped = text.strip_prefix(&self.prefix).ok_or(AppError::Wrong)?;
            if stripped.is_empty() {
                return Err(AppError::Wrong);
            }
            Ok(stripped)
        }
    }

    let client = Client { prefix: "-".to_owned() };
    let shown = CLOCK.block_on(client.method(vec![1], (2, 0), [0; 3], "-last"));
    assert_eq!(shown.unwrap(), ["-1", "-2", "last"]);
    let refused = CLOCK.block_on(client.method(vec![1], (2, 0), [0; 3], "last"));
    assert_eq!(refused, Err(AppError::Wrong));
}

#[test]
fn a_call_can_be_sent_when_its_arguments_can() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();

    async fn spare(_: Cell<u8>, _: &str, _: AppError) -> Result<u8, AppError> {
        Ok(7)
    }

    // A `Cell` can be sent, and not shared.
    #[resilient("send", fallback = spare, orchestrator = &TABLE, clock = &CLOCK)]
    async fn send(cell: Cell<u8>, text: &str) -> Result<u8, AppError> {
        core::future::ready(text).await;
        cell.set(1);
        Ok(cell.get())
    }

    fn sent<F: Future + Send>(future: F) -> F {
        future
    }
    assert_eq!(CLOCK.block_on(sent(send(Cell::new(0), "text"))), Ok(1));
}

#[test]
fn errors_are_told_apart_by_whoever_is_given() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();
    type Boxed = Box<dyn core::error::Error + Send + Sync>;

    fn hopeless(_: &Boxed) -> Verdict {
        Verdict::of(Class::Permanent)
    }

    #[resilient("told", classify = hopeless, orchestrator = &TABLE, clock = &CLOCK)]
    fn told(calls: &Cell<u32>) -> Result<u8, Boxed> {
        calls.set(calls.get() + 1);
        Err("no".into())
    }

    #[resilient("untold", retry_all, orchestrator = &TABLE, clock = &CLOCK)]
    fn untold(calls: &Cell<u32>) -> Result<u8, Boxed> {
        calls.set(calls.get() + 1);
        Ok("no number".parse()?)
    }

    let calls = Cell::new(0);
    assert_eq!(told(&calls).unwrap_err().to_string(), "no");
    assert_eq!(calls.replace(0), 1);
    assert_eq!(untold(&calls).unwrap_err().to_string(), "invalid digit found in string");
    assert_eq!(calls.get(), 3);
}

// --- Fallbacks ------------------------------------------------------------------------------------

#[test]
fn a_fallback_gets_the_arguments_and_the_error_and_is_counted() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();

    async fn first_line(text: String, error: AppError) -> Result<String, AppError> {
        match text.lines().next() {
            Some(line) => Ok(format!("{line}, for {error:?}")),
            None => Err(AppError::Wrong),
        }
    }

    #[resilient("later", fallback = first_line, orchestrator = &TABLE, clock = &CLOCK)]
    async fn later(text: String) -> Result<String, AppError> {
        drop(text);
        Err(AppError::Down("always"))
    }

    let answer = CLOCK.block_on(later("one\ntwo".to_owned()));
    assert_eq!(answer.as_deref(), Ok("one, for Down(\"always\")"));
    assert_eq!(CLOCK.block_on(later(String::new())), Err(AppError::Wrong), "its own error");
    let calls = TABLE.metrics("later").unwrap().snapshot().calls;
    assert_eq!((calls.fell_back, calls.failed, calls.started), (1, 1, 2));
}

#[test]
fn a_methods_fallback_is_a_method() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();

    struct Client(u32);

    impl Client {
        #[resilient("now", fallback = Self::spare, orchestrator = &TABLE, clock = &CLOCK)]
        fn now(&self, times: u32) -> Result<u32, AppError> {
            Err(AppError::Down(if times == self.0 { "same" } else { "other" }))
        }

        fn spare(&self, times: u32, error: AppError) -> Result<u32, AppError> {
            if error == AppError::Down("same") { Ok(self.0 * times) } else { Err(error) }
        }
    }

    assert_eq!(Client(3).now(3), Ok(9));
    assert_eq!(Client(3).now(4), Err(AppError::Down("other")));
    assert_eq!(TABLE.metrics("now").unwrap().snapshot().calls.fell_back, 1);
}

// --- Registration ---------------------------------------------------------------------------------

#[test]
fn who_registered_it_before_wins_and_a_configuration_lies_over_both() {
    static TABLE: Orchestrator<4> =
        Orchestrator::new().operation("before", Registration::by(Strategy::Aggressive));
    static CLOCK: ManualClock = ManualClock::new();

    #[resilient("before", strategy = "critical", orchestrator = &TABLE, clock = &CLOCK)]
    fn before() -> Result<(), AppError> {
        Ok(())
    }
    #[resilient("named", strategy = "critical", orchestrator = &TABLE, clock = &CLOCK)]
    fn named() -> Result<(), AppError> {
        Ok(())
    }

    let config = Config::<1>::new()
        .try_operation("named", Registration::new().given(Key::Attempts, 9))
        .unwrap();
    TABLE.configure(&config).unwrap();
    assert_eq!((before(), named()), (Ok(()), Ok(())));
    assert_eq!(TABLE.effective("before").unwrap().strategy(), Strategy::Aggressive);
    let named = TABLE.effective("named").unwrap();
    assert_eq!((named.strategy(), named.get(Key::Attempts)), (Strategy::Critical, 9));
    let conservative = Registration::by(Strategy::Conservative);
    TABLE.configure(&Config::<1>::new().try_operation("named", conservative).unwrap()).unwrap();
    assert_eq!(TABLE.get("named").unwrap().settings().attempts, 2);
}

#[test]
fn an_operation_without_a_place_is_an_error_and_its_fallback_is_not_asked() {
    static TABLE: Orchestrator<1> = Orchestrator::new().operation("other", Registration::new());
    static CLOCK: ManualClock = ManualClock::new();

    fn never(_: AppError) -> Result<(), AppError> {
        panic!("it hides a mistake of the program");
    }

    #[resilient("more", fallback = never, orchestrator = &TABLE, clock = &CLOCK)]
    fn more() -> Result<(), AppError> {
        Ok(())
    }

    let Err(AppError::Stopped(stopped)) = more() else { panic!("there is no place") };
    assert_eq!(stopped.why, Why::NotRegistered(RegisterError::Full { capacity: 1 }));
    assert_eq!(stopped.to_string(), "more: not registered: all 1 places of the table are taken");
}

#[test]
fn without_an_orchestrator_it_is_the_processs_own_once_that_is_installed() {
    static CLOCK: ManualClock = ManualClock::new();

    fn never(_: AppError) -> Result<u8, AppError> {
        panic!("it hides a mistake of the program");
    }

    #[resilient("own", strategy = "critical", fallback = never, clock = &CLOCK)]
    fn own() -> Result<u8, AppError> {
        Ok(1)
    }

    let Err(AppError::Stopped(stopped)) = own() else { panic!("nothing is installed") };
    assert_eq!(stopped.why, Why::NotInitialised);
    assert_eq!(
        stopped.to_string(),
        "own: no resilience is installed in this process yet: see steadfast_std::install"
    );
    let resilience = Resilience::new();
    install(resilience).unwrap();
    assert_eq!(own(), Ok(1));
    let table = resilience.orchestrator();
    assert_eq!(table.effective("own").unwrap().strategy(), Strategy::Critical);
    assert_eq!(table.metrics("own").unwrap().snapshot().calls.succeeded, 1);
    assert_eq!(operation("own").unwrap().name().as_str(), "own");
}

#[test]
fn functions_first_called_at_once_wait_for_one_another() {
    static TABLE: Orchestrator<8> = Orchestrator::new();

    macro_rules! functions {
        ($($function:ident $name:literal),*) => {
            $(
                #[resilient($name, orchestrator = &TABLE)]
                fn $function() -> Result<&'static str, AppError> {
                    Ok($name)
                }
            )*
            const FUNCTIONS: &[fn() -> Result<&'static str, AppError>] = &[$($function),*];
        };
    }

    functions!(a "a", b "b", c "c", d "d", e "e", f "f", g "g", h "h");
    let start = std::sync::Barrier::new(FUNCTIONS.len());
    thread::scope(|scope| {
        for function in FUNCTIONS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                assert!(function().is_ok());
            });
        }
    });
    assert_eq!(TABLE.len(), 8);
}

// --- Where it comes from --------------------------------------------------------------------------

#[test]
fn the_attribute_is_steadfasts_own() {
    static TABLE: Orchestrator<4> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();

    async fn spare(text: &str, _: AppError) -> Result<usize, AppError> {
        Ok(text.len())
    }

    #[steadfast::resilient(
        "ai_summarize",
        strategy = "critical",
        fallback = spare,
        orchestrator = &TABLE,
        clock = &CLOCK
    )]
    async fn summarize(text: &str) -> Result<usize, AppError> {
        Err(AppError::Down(if text.is_empty() { "empty" } else { "full" }))
    }

    assert_eq!(CLOCK.block_on(summarize("text")), Ok(4));
    let (effective, metrics) = (TABLE.effective("ai_summarize"), TABLE.metrics("ai_summarize"));
    assert_eq!(effective.unwrap().strategy(), Strategy::Critical);
    assert_eq!(metrics.unwrap().snapshot().calls.fell_back, 1);
}

/// A crate that hands `steadfast-std` on, with another clock for threads.
mod company {
    pub(crate) mod __macros {
        pub(crate) use steadfast_std::__macros::*;

        pub(crate) struct ThreadClock;

        #[expect(clippy::new_ret_no_self, reason = "any clock does")]
        impl ThreadClock {
            pub(crate) const fn new() -> &'static steadfast::ManualClock {
                &super::super::COMPANY_CLOCK
            }
        }
    }
}

static COMPANY_CLOCK: ManualClock = ManualClock::new();

#[test]
fn a_crate_of_another_name_is_where_it_is_said_to_be() {
    static TABLE: Orchestrator<4> = Orchestrator::new();

    #[steadfast::resilient("own", crate = crate::company, retry_all, orchestrator = &TABLE)]
    fn own(calls: &Cell<u32>) -> Result<u32, AppError> {
        calls.set(calls.get() + 1);
        if calls.get() < 3 { Err(AppError::Wrong) } else { Ok(calls.get()) }
    }

    assert_eq!(own(&Cell::new(0)), Ok(3));
    assert!(COMPANY_CLOCK.now() > Instant::from_micros(2 * 2_000_000), "it waited by its clock");
}

// --- Clocks ---------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_async_function_goes_by_tokios_clock() {
    static TABLE: Orchestrator<4> = Orchestrator::new();

    #[resilient("tokio", orchestrator = &TABLE)]
    async fn slow() -> Result<(), AppError> {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(())
    }

    let began = tokio::time::Instant::now();
    assert!(slow().await.is_err());
    assert_eq!(began.elapsed().as_secs(), 60, "an attempt's time, by the balanced strategy");
}
