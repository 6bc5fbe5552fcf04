//! How many requests and tokens a minute, and what one costs of a bucket.

use core::fmt;

use super::bucket::{MINUTE, Price, UNIT_SHIFT, time};

/// How many requests, and how many tokens of a model, a minute.
///
/// ```
/// use steadfast::state::LimitRule;
///
/// const RULE: LimitRule = LimitRule::requests(60).and_tokens(90_000);
/// assert_eq!(RULE.requests_per_minute(), Some(60));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitRule {
    /// A minute; zero for no limit.
    pub(super) requests: u32,
    pub(super) tokens: u32,
}

/// What is wrong with a [`LimitRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitRuleError {
    /// 1 to 2^31 requests a minute.
    Requests,
    /// 1 to 2^31 tokens a minute.
    Tokens,
}

impl LimitRule {
    /// No limit.
    pub const NONE: Self = Self { requests: 0, tokens: 0 };

    /// So many requests a minute, 1 to 2^31.
    #[must_use]
    pub const fn requests(per_minute: u32) -> Self {
        match Self::NONE.try_requests(per_minute) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_requests(self, per_minute: u32) -> Result<Self, LimitRuleError> {
        match per_minute {
            1..=MOST_A_MINUTE => Ok(Self { requests: per_minute, ..self }),
            _ => Err(LimitRuleError::Requests),
        }
    }

    /// So many tokens a minute, 1 to 2^31, and any number of requests.
    #[must_use]
    pub const fn tokens(per_minute: u32) -> Self {
        Self::NONE.and_tokens(per_minute)
    }

    /// So many tokens a minute too, 1 to 2^31.
    #[must_use]
    pub const fn and_tokens(self, per_minute: u32) -> Self {
        match self.try_tokens(per_minute) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_tokens(self, per_minute: u32) -> Result<Self, LimitRuleError> {
        match per_minute {
            1..=MOST_A_MINUTE => Ok(Self { tokens: per_minute, ..self }),
            _ => Err(LimitRuleError::Tokens),
        }
    }

    /// The requests a minute, if they are limited.
    #[must_use]
    pub const fn requests_per_minute(&self) -> Option<u32> {
        if self.requests == 0 { None } else { Some(self.requests) }
    }

    /// The tokens a minute, if they are limited.
    #[must_use]
    pub const fn tokens_per_minute(&self) -> Option<u32> {
        if self.tokens == 0 { None } else { Some(self.tokens) }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.requests == 0 && self.tokens == 0
    }

    /// What one request costs, and what `tokens` do.
    pub(super) const fn prices(&self, tokens: u32) -> (Price, Price) {
        let (request, token) = (time(1, self.requests), time(1, self.tokens));
        let most_requests = match self.requests {
            // All of them, whatever is rounded up of each.
            0..=EXACT => self.requests * request,
            _ => MINUTE,
        };
        let most_tokens = match self.tokens {
            0 => 0,
            exact if MINUTE % exact == 0 => MINUTE,
            // As much more as so many calls round up, and never a whole token.
            _ => MINUTE + if token > ROUNDED { ROUNDED } else { token - 1 },
        };
        (
            Price { time: request, most: most_requests },
            Price { time: time(tokens, self.tokens), most: most_tokens },
        )
    }

    pub(crate) const fn to_words(self) -> [u32; LIMIT_RULE_WORDS] {
        [self.requests, self.tokens]
    }

    /// What [`to_words`](Self::to_words) gave.
    pub(crate) const fn from_words([requests, tokens]: [u32; LIMIT_RULE_WORDS]) -> Self {
        Self { requests, tokens }
    }
}

impl LimitRuleError {
    const fn message(self) -> &'static str {
        match self {
            Self::Requests => "a limit is 1 to 2147483648 requests a minute",
            Self::Tokens => "a limit is 1 to 2147483648 tokens a minute",
        }
    }
}

impl fmt::Display for LimitRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for LimitRuleError {}

/// Words of a rule.
pub(crate) const LIMIT_RULE_WORDS: usize = 2;
const MOST_A_MINUTE: u32 = 1 << 31;
/// Requests a minute whose rounding adds less than a second to the minute.
const EXACT: u32 = 10_000_000;
/// 256 µs.
const ROUNDED: u32 = 1 << (8 + UNIT_SHIFT);
