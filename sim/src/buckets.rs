//! What is left of a minute's requests and tokens, in plain numbers, to hold a limiter to.

use steadfast::state::LimitRule;

/// Of both, as a limiter may say it: it rounds, so this is between two numbers.
#[derive(Clone, Copy)]
pub(crate) struct Buckets {
    requests: Bucket,
    tokens: Bucket,
}

/// What was taken of both.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    requests: Part,
    tokens: Part,
}

/// When it is full again, in nanoseconds of the clock.
#[derive(Clone, Copy)]
struct Bucket {
    per_minute: u64,
    /// It holds more than a minute's worth by this, for what was rounded up.
    slack: u64,
    earliest: u64,
    latest: u64,
    /// By which reading it was last moved, in microseconds.
    moved: u64,
}

#[derive(Clone, Copy)]
struct Part {
    price: u64,
    price_up: u64,
    /// From when on it comes back.
    earliest: u64,
    latest: u64,
    second: u64,
}

impl Buckets {
    pub(crate) fn new(rule: &LimitRule) -> Self {
        let bucket = |per_minute: Option<u32>, slack| Bucket {
            per_minute: per_minute.unwrap_or(0).into(),
            slack,
            earliest: 0,
            latest: 0,
            moved: 0,
        };
        let requests = rule.requests_per_minute();
        Self {
            requests: bucket(requests, u64::from(requests.unwrap_or(0)) * UNIT),
            tokens: bucket(rule.tokens_per_minute(), 256_000),
        }
    }

    /// Holds what is told at `now` to it: whether one request and `tokens` are there at `at`, now or
    /// later, or until when not.
    pub(crate) fn check(&mut self, now: u64, at: u64, tokens: u64, refused_until: Option<u64>) {
        let limit = self.tokens.per_minute;
        if limit > 0 && tokens > limit {
            assert!(refused_until == Some(u64::MAX), "more than there ever are: {refused_until:?}");
            return;
        }
        self.both(tokens).into_iter().for_each(|(bucket, _)| bucket.read(now));
        let Some(until) = refused_until else {
            let had = self.both(tokens).into_iter().all(|(bucket, count)| bucket.has(at, count));
            assert!(had, "the limiter gives a request or {tokens} tokens that are not there");
            return;
        };
        let longest = self.longest_wait(at, tokens);
        assert!(longest > 0, "the limiter refuses what is there, until {until}");
        assert!(until > at, "refused at {at} until {until}");
        let wait = until - at - 1;
        assert!(wait <= longest.div_ceil(NANOS), "refused for {wait} µs, and {longest} ns lack");
    }

    /// It keeps its share.
    pub(crate) fn follow(&mut self, rule: &LimitRule) {
        let next = Self::new(rule);
        for (bucket, next) in [(&mut self.requests, next.requests), (&mut self.tokens, next.tokens)]
        {
            (bucket.per_minute, bucket.slack) = (next.per_minute, next.slack);
        }
    }

    pub(crate) fn take(&mut self, now: u64, tokens: u64) -> Parts {
        let Self { requests, tokens: of_tokens } = self;
        Parts { requests: requests.take(now, 1), tokens: of_tokens.take(now, tokens) }
    }

    /// The longest wait that is explained, in nanoseconds: zero if they must be had.
    fn longest_wait(&mut self, at: u64, tokens: u64) -> u64 {
        let waits = self.both(tokens).map(|(bucket, count)| bucket.longest_wait(at, count));
        waits[0].max(waits[1])
    }

    pub(crate) fn refund(&mut self, parts: &Parts) {
        self.requests.refund(&parts.requests);
        self.tokens.refund(&parts.tokens);
    }

    pub(crate) fn settle(&mut self, now: u64, estimated: u64, actual: u64) {
        match actual.checked_sub(estimated) {
            Some(more) if more > 0 => self.tokens.charge(now, more),
            _ => self.tokens.give_back(estimated - actual.min(estimated)),
        }
    }

    /// Tokens that must be there, if a request is and there is no debt.
    pub(crate) fn there(&mut self, now: u64) -> Option<u64> {
        self.both(0).into_iter().for_each(|(bucket, _)| bucket.read(now));
        let left = self.tokens.left(now);
        (self.longest_wait(now, 0) == 0).then_some(left)
    }

    const fn both(&mut self, tokens: u64) -> [(&mut Bucket, u64); 2] {
        [(&mut self.requests, 1), (&mut self.tokens, tokens)]
    }
}

impl Bucket {
    const fn has(&self, at: u64, count: u64) -> bool {
        let missing = self.earliest.saturating_sub(at.saturating_mul(NANOS));
        self.per_minute == 0 || missing + self.price(count) <= MINUTE + self.slack
    }

    const fn longest_wait(&self, at: u64, count: u64) -> u64 {
        let missing = self.latest.saturating_sub(at.saturating_mul(NANOS));
        match self.per_minute {
            0 => 0,
            _ => (missing + self.price_up(count)).saturating_sub(MINUTE),
        }
    }

    fn left(&self, now: u64) -> u64 {
        let there = MINUTE.saturating_sub(self.latest.saturating_sub(now * NANOS) + UNIT);
        (u128::from(there) * u128::from(self.per_minute) / u128::from(MINUTE)) as u64
    }

    /// A clock that was set back by more than about nine seconds stood still.
    const fn read(&mut self, now: u64) {
        let is_set_back = self.moved >> SECOND_SHIFT > (now >> SECOND_SHIFT) + 8;
        if self.per_minute > 0 && is_set_back {
            let earliest = self.earliest.saturating_sub(self.moved * NANOS);
            let latest = self.latest.saturating_sub(self.began());
            (self.earliest, self.latest) = (now * NANOS + earliest, now * NANOS + latest);
            self.moved = now;
        }
    }

    fn take(&mut self, now: u64, count: u64) -> Part {
        self.read(now);
        let (earliest, latest) = (self.earliest.max(now * NANOS), self.latest.max(now * NANOS));
        let (price, price_up) = (self.price(count), self.price_up(count));
        if self.per_minute > 0 {
            (self.earliest, self.latest) = (earliest + price, latest + price_up);
            self.moved = now;
        }
        Part { price, price_up, earliest, latest, second: now >> SECOND_SHIFT }
    }

    /// What time has not given back by when it was last moved, to a second of 2^20 µs.
    fn refund(&mut self, part: &Part) {
        if (self.moved >> SECOND_SHIFT) + 8 < part.second {
            // The clock was set back, and nobody knows.
            return;
        }
        let least = self.began().saturating_sub(part.latest).min(part.price_up);
        let most = (self.moved * NANOS).saturating_sub(part.earliest).min(part.price);
        self.fill(part.price_up - least, part.price - most);
    }

    fn give_back(&mut self, count: u64) {
        self.fill(self.price_up(count), self.price(count));
    }

    fn fill(&mut self, most: u64, least: u64) {
        self.earliest = self.earliest.saturating_sub(most).max(self.began());
        self.latest = self.latest.saturating_sub(least).max(self.moved * NANOS);
    }

    fn charge(&mut self, now: u64, count: u64) {
        if self.per_minute == 0 {
            return;
        }
        // An old reading fills no bucket.
        let old = now >> SECOND_SHIFT < self.moved >> SECOND_SHIFT;
        let at = if old { self.began() } else { now * NANOS };
        let (price, up) = (self.price(count), self.price_up(count));
        self.earliest = (self.earliest.max(at) + price).min(at + 2 * MINUTE);
        self.latest = (self.latest.max(at) + up).min(at + 2 * MINUTE);
        self.moved = at / NANOS;
    }

    /// The time in which so many come back.
    const fn price(&self, count: u64) -> u64 {
        match self.per_minute {
            0 => 0,
            // A number of tokens has 32 bits.
            limit => (count as u128 * MINUTE as u128 / limit as u128) as u64,
        }
    }

    const fn price_up(&self, count: u64) -> u64 {
        if count == 0 || self.per_minute == 0 { 0 } else { self.price(count) + 1 + UNIT }
    }

    const fn began(&self) -> u64 {
        (self.moved >> SECOND_SHIFT << SECOND_SHIFT) * NANOS
    }
}

/// A microsecond.
const NANOS: u64 = 1_000;
const MINUTE: u64 = 60_000_000 * NANOS;
/// What a limiter counts in: 62.5 ns.
const UNIT: u64 = 63;
const SECOND_SHIFT: u32 = 20;
