//! Inputs for what is measured: made from their number alone, so that the worst can be named.

use core::fmt;
use core::time::Duration;

use steadfast::state::{Circuit, Mode, Outcome};
use steadfast::{Backoff, Instant, Jitter, Rule, Trip};

/// How many inputs are measured.
pub const INPUTS: u32 = 50_000;

/// One protected call: a breaker as it is found, what else happens to it, and how the call ends.
pub struct Call {
    number: u32,
    pub rule: Rule,
    pub circuit: Circuit,
    pub now: Instant,
    /// What another caller does to the breaker while the call is under way.
    pub meanwhile: Option<Meanwhile>,
    pub later: Instant,
    /// None if the caller gives up and says nothing.
    pub outcome: Option<Outcome>,
}

/// What another caller does.
#[derive(Clone, Copy, Debug)]
pub enum Meanwhile {
    Forces(Mode),
    Resets,
    Fails,
}

/// One wait between two attempts.
pub struct Wait {
    number: u32,
    pub backoff: Backoff,
    pub failed: u32,
    pub previous: Duration,
    pub random: u32,
    pub asked: Option<Duration>,
}

impl Call {
    /// The input of that number, on any machine.
    pub fn nth(number: u32) -> Self {
        let mut bits = Bits::new(number);
        let rule = bits.of(&RULES);
        let now = bits.instant();
        let (hot, cold) = (bits.hot(now), bits.cold(now));
        // The epoch of the cold word, for most: else it lags.
        let cold = if bits.one_in(4) { cold } else { cold & !EPOCH | hot & EPOCH };
        let meanwhile = bits.of(&[
            None,
            None,
            None,
            Some(Meanwhile::Resets),
            Some(Meanwhile::Fails),
            Some(Meanwhile::Forces(Mode::ForcedOpen)),
            Some(Meanwhile::Forces(Mode::Shadow)),
        ]);
        let later = match bits.below(3) {
            0 => now,
            1 => bits.near(now),
            _ => bits.instant(),
        };
        let outcome = bits.of(&[
            Some(Outcome::Success),
            Some(Outcome::Success),
            Some(Outcome::Failure),
            Some(Outcome::Failure),
            None,
        ]);
        let circuit = Circuit::from_bits(hot, cold);
        // One in eight as almost all calls are: closed, without a failure, and a success.
        match number % 8 {
            0 => Self {
                number,
                rule,
                circuit: Circuit::from_bits(hot & EPOCH, hot & EPOCH),
                now,
                meanwhile: None,
                later: now.after(Duration::from_millis(u64::from(bits.below(60_000)))),
                outcome: Some(Outcome::Success),
            },
            _ => Self { number, rule, circuit, now, meanwhile, later, outcome },
        }
    }

    /// Whether the open period grows: what that takes stands apart.
    pub fn grows(&self) -> bool {
        self.rule.growth_tenths() > 10
    }

    /// Whether it is as almost all calls are.
    pub fn is_healthy(&self) -> bool {
        self.number.is_multiple_of(8)
    }
}

impl Wait {
    /// The input of that number, on any machine.
    pub fn nth(number: u32) -> Self {
        let mut bits = Bits::new(!number);
        let failed = match bits.below(2) {
            0 => bits.below(40),
            _ => bits.extreme(),
        };
        Self {
            number,
            backoff: bits.of(&BACKOFFS),
            failed,
            previous: bits.length(),
            random: bits.extreme(),
            asked: if bits.one_in(2) { Some(bits.length()) } else { None },
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hot, cold) = self.circuit.to_bits();
        write!(
            f,
            "call {}: {hot:08x} {cold:08x} ({:?}, {:?}) at {}, {:?} by {:?}, then {:?}, {:?} at {}",
            self.number,
            self.circuit.mode(),
            self.circuit.phase(),
            self.now.as_micros(),
            self.rule.trip(),
            self.rule.open_max(),
            self.meanwhile,
            self.outcome,
            self.later.as_micros(),
        )
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, backoff, failed, previous, random, asked } = self;
        write!(
            f,
            "wait {number}: {:?} {:?} after {failed}, {previous:?} before, {random:08x}, asked {asked:?}",
            backoff.growth(),
            backoff.jitter_kind(),
        )
    }
}

/// Numbers that follow from one.
struct Bits(u32);

impl Bits {
    fn new(number: u32) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995)
    }

    /// By Marsaglia's xorshift, multiplied.
    fn next(&mut self) -> u32 {
        self.0 = if self.0 == 0 { 1 } else { self.0 };
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0.wrapping_mul(0x2c1b_3c6d)
    }

    fn below(&mut self, end: u32) -> u32 {
        (self.next() >> 8) % end
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.below(many) == 0
    }

    fn of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len() as u32) as usize]
    }

    fn extreme(&mut self) -> u32 {
        let bits = self.next();
        self.of(&[0, 1, u32::MAX, u32::MAX - 1, 1 << 31, bits, bits, bits >> 16])
    }

    fn instant(&mut self) -> Instant {
        let wide = u64::from(self.next()) << 32 | u64::from(self.next());
        let least = u64::from(self.below(1 << 20));
        let base = self.of(&[0, 0, u64::MAX, 1 << 38, 1 << 37, wide, wide >> 20, wide >> 30]);
        let at =
            if self.one_in(2) { base.saturating_sub(least) } else { base.saturating_add(least) };
        Instant::from_micros(at)
    }

    /// An instant before or after another, from a tick to days.
    fn near(&mut self, now: Instant) -> Instant {
        let (shift, step) = (self.below(39), u64::from(self.below(2)));
        let by = (1_u64 << shift) + step;
        let now = now.as_micros();
        Instant::from_micros(if self.one_in(2) {
            now.saturating_add(by)
        } else {
            now.saturating_sub(by)
        })
    }

    fn length(&mut self) -> Duration {
        let micros = u64::from(self.next());
        let asked = Duration::from_micros(micros);
        self.of(&[Duration::ZERO, Duration::MAX, Duration::from_secs(u64::MAX), asked, asked])
    }

    /// A hot word: any phase and epoch, and contents that are near `now` where they are a time.
    fn hot(&mut self, now: Instant) -> u32 {
        let (epoch, any) = (self.next() & EPOCH, self.next() & !EPOCH & !PHASE);
        let until = self.near(now).as_micros() >> 14;
        match self.below(6) {
            0 => epoch | any >> 1,
            1 => epoch | ((1 << self.below(23)) - 1),
            2 => epoch | 1 << 30 | any,
            3 => epoch | 1 << 30 | until as u32 & !EPOCH & !PHASE,
            4 => epoch | 2 << 30 | any,
            _ => epoch | 2 << 30 | self.below(4) << 6 | self.below(64),
        }
    }

    fn cold(&mut self, now: Instant) -> u32 {
        let lease = self.near(now).as_micros() >> 17;
        let mode = if self.one_in(3) { self.next() & PHASE } else { 0 };
        let lease = if self.one_in(2) { lease as u32 } else { self.next() };
        mode | self.next() & EPOCH | self.extreme() & 0xf << 20 | lease & 0xf_ffff
    }
}

const PHASE: u32 = 3 << 30;
const EPOCH: u32 = 0x3f << 24;

const RULES: [Rule; 5] = [
    Rule::new(Trip::after(3).of_last(9), Duration::from_secs(30)),
    Rule::new(Trip::after(1), Duration::from_millis(50)).lease(Duration::from_millis(50)),
    Rule::new(Trip::after(23), Duration::from_secs(86_400))
        .probes(63)
        .lease(Duration::from_secs(86_400)),
    // As many steps of growth as there are.
    Rule::new(Trip::after(2).of_last(23), Duration::from_millis(50))
        .open_growth(11, Duration::from_secs(86_400))
        .probes(3),
    Rule::new(Trip::after(1).of_last(5), Duration::from_secs(1))
        .open_growth(100, Duration::from_secs(3_600)),
];

const BACKOFFS: [Backoff; 7] = [
    Backoff::constant(Duration::from_secs(1)),
    exponential().jitter(Jitter::Full),
    exponential().jitter(Jitter::Equal),
    exponential().jitter(Jitter::Decorrelated),
    exponential().jitter(Jitter::Additive(Duration::from_secs(3_600))),
    Backoff::linear(Duration::from_secs(3_599), Duration::ZERO, Duration::from_secs(3_600)),
    Backoff::linear(Duration::from_micros(1), Duration::ZERO, Duration::from_secs(1))
        .jitter(Jitter::Full),
];

const fn exponential() -> Backoff {
    Backoff::exponential(
        Duration::from_millis(200),
        Duration::from_millis(100),
        Duration::from_secs(3_600),
    )
}
