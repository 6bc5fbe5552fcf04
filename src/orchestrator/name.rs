//! Names of operations, and a table that finds them.

use core::fmt;

use crate::state::word::AtomicWord;

/// The name of an operation: 1 to 32 bytes of UTF-8, without NUL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    bytes: [u8; NAME],
    length: u8,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It is longer than 32 bytes.
    TooLong,
    /// It contains a NUL.
    Nul,
}

/// A name in memory that others read while it is written: padded with NULs.
#[derive(Debug)]
pub(super) struct NameWords([AtomicWord; NAME / 4]);

impl Name {
    /// The name `text`.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or contains a NUL.
    #[allow(clippy::indexing_slicing, reason = "const, and within the name")]
    pub const fn new(text: &str) -> Result<Self, NameError> {
        let text = text.as_bytes();
        match text.len() {
            0 => return Err(NameError::Empty),
            1..=NAME => {}
            _ => return Err(NameError::TooLong),
        }
        let (mut bytes, mut at) = ([0; NAME], 0);
        while at < text.len() {
            if text[at] == 0 {
                return Err(NameError::Nul);
            }
            bytes[at] = text[at];
            at += 1;
        }
        Ok(Self { bytes, length: text.len() as u8 })
    }

    /// The words of a name that may be in a table, without a look at each byte: no name there ends
    /// in a NUL, nor contains one.
    pub(super) fn words_of(text: &str) -> Option<[u32; NAME / 4]> {
        let (mut bytes, text) = ([0; NAME], text.as_bytes());
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let mut words = [0; NAME / 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = chunk.try_into().map_or(0, u32::from_le_bytes);
        }
        text.last().is_some_and(|&byte| byte != 0).then_some(words)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    #[allow(clippy::indexing_slicing, reason = "const, and within the name")]
    pub(super) const fn to_words(self) -> [u32; NAME / 4] {
        let (mut words, mut at) = ([0; NAME / 4], 0);
        while at < NAME / 4 {
            let from = at * 4;
            words[at] = u32::from_le_bytes([
                self.bytes[from],
                self.bytes[from + 1],
                self.bytes[from + 2],
                self.bytes[from + 3],
            ]);
            at += 1;
        }
        words
    }

    fn from_words(words: [u32; NAME / 4]) -> Self {
        let mut bytes = [0; NAME];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let length = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Self { bytes, length: length as u8 }
    }

    /// Spreads names over a table; never [`FREE`].
    // Multiply and fold over words, with the constant of Fibonacci hashing: names are short and no
    // enemy chooses them, for a table is as long as its owner made it.
    #[allow(clippy::indexing_slicing, reason = "const, and within the words")]
    pub(super) const fn hash(words: &[u32; NAME / 4]) -> u32 {
        let (mut hash, mut at) = (0_u32, 0);
        while at < NAME / 4 && words[at] != 0 {
            hash = (hash.rotate_left(5) ^ words[at]).wrapping_mul(0x9e37_79b9);
            at += 1;
        }
        hash ^= hash >> 15;
        if hash == FREE { 1 } else { hash }
    }
}

impl NameWords {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use makes another")]
    pub(super) const EMPTY: Self = Self([const { AtomicWord::new(0) }; NAME / 4]);

    #[allow(clippy::indexing_slicing, reason = "const, and within the words")]
    pub(super) const fn new(words: [u32; NAME / 4]) -> Self {
        let (mut name, mut at) = (Self::EMPTY, 0);
        while at < NAME / 4 {
            name.0[at] = AtomicWord::new(words[at]);
            at += 1;
        }
        name
    }

    pub(super) fn store(&self, words: [u32; NAME / 4]) {
        for (cell, word) in self.0.iter().zip(words) {
            cell.write(word);
        }
    }

    pub(super) fn is(&self, words: &[u32; NAME / 4]) -> bool {
        self.0.iter().zip(words).all(|(cell, word)| cell.load() == *word)
    }

    pub(super) fn name(&self) -> Name {
        Name::from_words(self.0.each_ref().map(AtomicWord::load))
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl NameError {
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Empty => "an operation's name is not empty",
            Self::TooLong => "an operation's name has 32 bytes at most",
            Self::Nul => "an operation's name contains no NUL",
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for NameError {}

/// A slot of the table without a name.
pub(super) const FREE: u32 = 0;
const NAME: usize = 32;
