//! A configuration as bytes, and in any format of serde.
//!
//! The bytes are those of [postcard](https://postcard.jamesmunns.com/wire-format): a number is a
//! varint (seven bits a byte, the lowest first, the top bit set on all bytes but the last), so they
//! are the same whatever the order of bytes and the width of words on a machine.
//!
//! | part | bytes |
//! |---|---|
//! | version | 1: the number 1 |
//! | default strategy | 1: see below |
//! | what holds for every strategy | settings |
//! | how many operations | varint |
//! | each: its name | varint of its length in bytes, then 1 to 32 bytes of UTF-8 |
//! | what holds for it | settings |
//!
//! Settings:
//!
//! | part | bytes |
//! |---|---|
//! | strategy | 1: 0 none, 1 aggressive, 2 balanced, 3 conservative, 4 critical |
//! | how many are given | varint |
//! | each: which | 1: [`Key::tag`] |
//! | its value | varint, as the key's [kind](Key::kind) counts: lengths in µs, flags 0 or 1, `retry.backoff`, `retry.jitter_kind` and `breaker.mode` the place among their names, from 0 |
//!
//! Lengths beyond 35 minutes are kept in units of 64 µs, rounded up as they are read; what was kept
//! once is written and read as it is.
//!
//! Other formats of serde get the same as sequences: in JSON, `[1,2,[0,[[2,5]]],[["ai",[4,[]]]]]`.
//!
//! Reading takes all of it or nothing: an unknown version, strategy or tag, a value out of the range
//! of its key, anything twice, and bytes after the end are errors. A later version may have more
//! tags; numbers once given are never used for something else.

use core::cell::Cell;
use core::fmt;

use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::config::{Config, ConfigError};
use super::key::{Key, OutOfRange};
use super::name::{Name, NameError};
use super::registration::Registration;
use crate::policy::Strategy;

/// Why a configuration cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WireError {
    /// It is of another version than this one reads.
    Version(u8),
    /// No strategy has that number.
    Strategy(u8),
    /// No setting has that [tag](Key::tag).
    Tag(u8),
    /// The value of this setting is out of its range.
    OutOfRange(Key),
    /// This setting is given twice.
    KeyTwice(Key),
    /// The name of an operation is none.
    Name(NameError),
    /// The name of an operation is not UTF-8.
    NotText,
    /// An operation is in it twice.
    Twice(Name),
    /// It has more operations than so many.
    TooMany(usize),
    /// Its bytes end too soon.
    Truncated,
    /// So many bytes follow its end.
    Trailing(usize),
    /// A number in it is too long to be one.
    Malformed,
}

/// The bytes of a configuration do not fit the buffer: `Config::POSTCARD_BYTES` are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BufferTooSmall;

#[cfg(feature = "postcard")]
impl<const M: usize> Config<M> {
    /// A buffer of so many bytes takes any configuration of `M` operations.
    pub const POSTCARD_BYTES: usize =
        2 + REGISTRATION + varint(M as u64) + M * (1 + 32 + REGISTRATION);

    /// Writes it into `buffer`, as [`wire`](self) says, and returns what it wrote.
    ///
    /// ```
    /// use steadfast::orchestrator::{Config, Key, Registration};
    ///
    /// let every = Registration::new().given(Key::Attempts, 5);
    /// let config = Config::<8>::new().with_every_strategy(every);
    /// let mut buffer = [0; Config::<8>::POSTCARD_BYTES];
    /// let bytes = config.to_postcard(&mut buffer)?;
    /// assert_eq!(Config::from_postcard(bytes), Ok(config));
    /// # Ok::<(), steadfast::orchestrator::wire::BufferTooSmall>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It does not fit.
    pub fn to_postcard<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], BufferTooSmall> {
        // Nothing else can fail: all lengths are known.
        postcard::to_slice(self, buffer).map(|bytes| &*bytes).map_err(|_| BufferTooSmall)
    }

    /// Reads what [`to_postcard`](Self::to_postcard) wrote, here or elsewhere. Whether its settings
    /// go together, [`check`](Self::check) and an orchestrator say.
    ///
    /// # Errors
    ///
    /// The bytes are no configuration of up to `M` operations: then there is none.
    pub fn from_postcard(bytes: &[u8]) -> Result<Self, WireError> {
        let (note, mut reader) = (Cell::new(None), postcard::Deserializer::from_bytes(bytes));
        let config = Whole(&note).deserialize(&mut reader);
        let config = config.map_err(|error| note.take().unwrap_or_else(|| error.into()))?;
        match reader.finalize() {
            Ok([]) => Ok(config),
            Ok(rest) => Err(WireError::Trailing(rest.len())),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(feature = "postcard")]
impl From<postcard::Error> for WireError {
    fn from(error: postcard::Error) -> Self {
        match error {
            postcard::Error::DeserializeUnexpectedEnd => Self::Truncated,
            postcard::Error::DeserializeBadUtf8 => Self::NotText,
            _ => Self::Malformed,
        }
    }
}

// --- Writing --------------------------------------------------------------------------------------

impl<const M: usize> Serialize for Config<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let strategy = number(self.default_strategy());
        (VERSION, strategy, Settings(self.every_strategy()), Operations(self)).serialize(serializer)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

struct Operations<'c, const M: usize>(&'c Config<M>);
struct Settings<'c>(&'c Registration);
struct Given<'c>(&'c Registration);

impl<const M: usize> Serialize for Operations<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.0.operations().count()))?;
        for (name, registration) in self.0.operations() {
            all.serialize_element(&(name, Settings(registration)))?;
        }
        all.end()
    }
}

impl Serialize for Settings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (number(self.0.named()), Given(self.0)).serialize(serializer)
    }
}

impl Serialize for Given<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.0.iter().count()))?;
        for (key, value) in self.0.iter() {
            all.serialize_element(&(key.tag(), value))?;
        }
        all.end()
    }
}

// --- Reading --------------------------------------------------------------------------------------

impl<'de, const M: usize> Deserialize<'de> for Config<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Whole(&Cell::new(None)).deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Named(&Cell::new(None)).deserialize(deserializer)
    }
}

/// Where a reader leaves what is wrong: without an allocator, an error of a format has no room for
/// it.
type Note = Cell<Option<WireError>>;

struct Whole<'n, const M: usize>(&'n Note);
struct ReadOperations<'n, const M: usize> {
    note: &'n Note,
    config: Config<M>,
}
struct ReadOperation<'n>(&'n Note);
struct Named<'n>(&'n Note);
struct ReadSettings<'n>(&'n Note);
struct ReadGiven<'n> {
    note: &'n Note,
    registration: Registration,
}

impl<'de, const M: usize> DeserializeSeed<'de> for Whole<'_, M> {
    type Value = Config<M>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Config<M>, D::Error> {
        deserializer.deserialize_tuple(4, self)
    }
}

impl<'de, const M: usize> Visitor<'de> for Whole<'_, M> {
    type Value = Config<M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version, a strategy, settings for every strategy, and operations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Config<M>, A::Error> {
        let Self(note) = self;
        let version = part(parts.next_element()?, 0)?;
        if version != VERSION {
            return Err(noted(note, WireError::Version(version)));
        }
        let strategy = strategy(note, part(parts.next_element()?, 1)?)?;
        let every = part(parts.next_element_seed(ReadSettings(note))?, 2)?;
        let config = Config::new().with_every_strategy(every);
        let config = match strategy {
            Some(strategy) => config.with_default_strategy(strategy),
            None => config,
        };
        part(parts.next_element_seed(ReadOperations { note, config })?, 3)
    }
}

impl<'de, const M: usize> DeserializeSeed<'de> for ReadOperations<'_, M> {
    type Value = Config<M>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Config<M>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, const M: usize> Visitor<'de> for ReadOperations<'_, M> {
    type Value = Config<M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("operations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Config<M>, A::Error> {
        let Self { note, mut config } = self;
        while let Some((name, registration)) = parts.next_element_seed(ReadOperation(note))? {
            let with = config.try_operation(name.as_str(), registration);
            config = with.map_err(|error| {
                let error = match error {
                    ConfigError::Twice(name) => WireError::Twice(name),
                    ConfigError::Name(error) => WireError::Name(error),
                    _ => WireError::TooMany(M),
                };
                noted(note, error)
            })?;
        }
        Ok(config)
    }
}

impl<'de> DeserializeSeed<'de> for ReadOperation<'_> {
    type Value = (Name, Registration);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for ReadOperation<'_> {
    type Value = (Name, Registration);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name and settings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let name = part(parts.next_element_seed(Named(self.0))?, 0)?;
        Ok((name, part(parts.next_element_seed(ReadSettings(self.0))?, 1)?))
    }
}

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an operation")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
        Name::new(text).map_err(|error| noted(self.0, WireError::Name(error)))
    }
}

impl<'de> DeserializeSeed<'de> for ReadSettings<'_> {
    type Value = Registration;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Registration, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for ReadSettings<'_> {
    type Value = Registration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a strategy and settings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Registration, A::Error> {
        let Self(note) = self;
        let registration = match strategy(note, part(parts.next_element()?, 0)?)? {
            Some(strategy) => Registration::by(strategy),
            None => Registration::new(),
        };
        part(parts.next_element_seed(ReadGiven { note, registration })?, 1)
    }
}

impl<'de> DeserializeSeed<'de> for ReadGiven<'_> {
    type Value = Registration;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Registration, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ReadGiven<'_> {
    type Value = Registration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags with values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Registration, A::Error> {
        let Self { note, mut registration } = self;
        while let Some((tag, value)) = parts.next_element()? {
            let key = Key::from_tag(tag).ok_or_else(|| noted(note, WireError::Tag(tag)))?;
            if registration.get(key).is_some() {
                return Err(noted(note, WireError::KeyTwice(key)));
            }
            let given = registration.try_given(key, value);
            registration = given.map_err(|_| noted(note, WireError::OutOfRange(key)))?;
        }
        Ok(registration)
    }
}

fn strategy<E: de::Error>(note: &Note, number: u8) -> Result<Option<Strategy>, E> {
    Ok(match number {
        0 => None,
        1 => Some(Strategy::Aggressive),
        2 => Some(Strategy::Balanced),
        3 => Some(Strategy::Conservative),
        4 => Some(Strategy::Critical),
        _ => return Err(noted(note, WireError::Strategy(number))),
    })
}

const fn number(strategy: Option<Strategy>) -> u8 {
    match strategy {
        None => 0,
        Some(Strategy::Aggressive) => 1,
        Some(Strategy::Balanced) => 2,
        Some(Strategy::Conservative) => 3,
        Some(Strategy::Critical) => 4,
    }
}

/// The part in place `at` of a sequence.
fn part<T, E: de::Error>(part: Option<T>, at: usize) -> Result<T, E> {
    part.ok_or_else(|| E::invalid_length(at, &"one more"))
}

fn noted<E: de::Error>(note: &Note, problem: WireError) -> E {
    note.set(Some(problem));
    E::custom(problem)
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "a configuration of version {version}, where {VERSION} is read")
            }
            Self::Strategy(number) => write!(f, "no strategy has the number {number}"),
            Self::Tag(tag) => write!(f, "no setting has the tag {tag}"),
            Self::OutOfRange(key) => OutOfRange(*key).fmt(f),
            Self::KeyTwice(key) => write!(f, "{key} is given twice"),
            Self::Name(error) => error.fmt(f),
            Self::NotText => f.write_str("an operation's name is UTF-8"),
            Self::Twice(name) => ConfigError::Twice(*name).fmt(f),
            Self::TooMany(most) => ConfigError::TooMany(*most).fmt(f),
            Self::Truncated => f.write_str("a configuration that ends too soon"),
            Self::Trailing(bytes) => write!(f, "{bytes} bytes after the end of a configuration"),
            Self::Malformed => f.write_str("a number in a configuration is too long"),
        }
    }
}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration's bytes do not fit the buffer")
    }
}

impl core::error::Error for WireError {}
impl core::error::Error for BufferTooSmall {}

/// How many bytes `number` takes.
#[cfg(feature = "postcard")]
const fn varint(number: u64) -> usize {
    match number {
        0 => 1,
        _ => (number.ilog2() / 7 + 1) as usize,
    }
}

/// The bytes of a strategy and all settings at their longest.
#[cfg(feature = "postcard")]
#[allow(clippy::indexing_slicing, reason = "const, and within the keys")]
const REGISTRATION: usize = {
    let (mut bytes, mut at) = (1 + varint(Key::ALL.len() as u64), 0);
    while at < Key::ALL.len() {
        bytes += 1 + varint(Key::ALL[at].range().1);
        at += 1;
    }
    bytes
};

const VERSION: u8 = 1;
