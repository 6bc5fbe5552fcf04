//! JSON as a tree that loses nothing: keys that stand there twice, and numbers as they are written.

use core::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Problem;

/// A value of a document.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Flag(bool),
    /// As it is written.
    Number(String),
    Text(String),
    /// No setting is one, so what it holds is not looked at.
    List,
    /// In the order of the document.
    Object(Vec<(String, Self)>),
}

/// A document, if it is JSON and not too large.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    if text.len() > LONGEST {
        let what = format!("the document has {} bytes", text.len());
        return Err(Problem::new("", what).allowed(format_args!("{LONGEST} bytes at most")));
    }
    // Some editors begin with a byte order mark.
    let text = tidy(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    serde_json::from_str::<&RawValue>(&text)
        .and_then(|raw| node(raw.get()))
        .map_err(|error| Problem::new("", format!("not JSON: {error}")))
}

/// A value that stands alone, such as that of an environment variable: a text if it is nothing else.
pub(super) fn scalar(text: &str) -> Node {
    match serde_json::from_str::<&RawValue>(text).map(|raw| node(raw.get())) {
        Ok(Ok(number @ Node::Number(_))) => number,
        _ => Node::Text(text.to_owned()),
    }
}

/// The keys of an object, each with its value, as they stand there.
struct Entries<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'t> Deserialize<'t> for Entries<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'t> Visitor<'t> for Collect {
            type Value = Entries<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Entries<'t>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// What a text says that is known to be JSON, and not too deep.
fn node(raw: &str) -> serde_json::Result<Node> {
    Ok(match raw.as_bytes().first() {
        Some(b'n') => Node::Null,
        Some(b't') => Node::Flag(true),
        Some(b'f') => Node::Flag(false),
        Some(b'"') => Node::Text(unescaped(raw)),
        Some(b'[') => Node::List,
        Some(b'{') => {
            let Entries(entries) = serde_json::from_str(raw)?;
            let entries = entries.into_iter();
            let pair = |(key, value): (&RawValue, &RawValue)| {
                Ok((unescaped(key.get()), node(value.get())?))
            };
            Node::Object(entries.map(pair).collect::<serde_json::Result<_>>()?)
        }
        _ => Node::Number(raw.to_owned()),
    })
}

/// A string without its quotes. Half a surrogate pair is no character, and stays as it is written.
fn unescaped(raw: &str) -> String {
    serde_json::from_str(raw).unwrap_or_else(|_| raw.trim_matches('"').to_owned())
}

/// Refuses a document that is too deep, and puts the numbers that are none in quotes, so that what
/// is wrong with them is told like everything else.
fn tidy(text: &str) -> Result<String, Problem> {
    let mut tidied = String::with_capacity(text.len());
    let (mut rest, mut depth, mut value_follows) = (text, 0_usize, true);
    while let Some(first) = rest.chars().next() {
        let word = NOT_NUMBERS.into_iter().find(|word| value_follows && rest.starts_with(word));
        let (length, quote) = match (first, word) {
            (_, Some(word)) => (word.len(), "\""),
            ('"', None) => (string_length(rest), ""),
            _ => (first.len_utf8(), ""),
        };
        match first {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            let what = "the document is too deep";
            return Err(Problem::new("", what).allowed(format_args!("{DEEPEST} levels at most")));
        }
        let (token, after) = rest.split_at(length);
        tidied.extend([quote, token, quote]);
        value_follows = matches!(first, ':' | '[') || value_follows && first.is_whitespace();
        rest = after;
    }
    Ok(tidied)
}

/// How far the string goes that `text` begins with, its quotes included.
fn string_length(text: &str) -> usize {
    let mut literal = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if literal => literal = false,
            b'\\' => literal = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What other systems write for numbers that JSON does not have.
pub(super) const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
const LONGEST: usize = 16 * 1024;
const DEEPEST: usize = 8;
