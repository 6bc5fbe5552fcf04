//! One value: what is expected, and what stands there.

use steadfast::Strategy;
use steadfast::orchestrator::Kind;

use super::number::{is_whole, within};
use super::tree::{NOT_NUMBERS, Node};

/// What `node` comes to, as `kind` counts; or what is wrong with it.
pub(super) fn read(kind: Kind, range: (u64, u64), node: &Node) -> Result<u64, String> {
    match (kind, node) {
        (Kind::Flag, Node::Flag(on)) => Ok(u64::from(*on)),
        (Kind::Choice(names), Node::Text(text)) => {
            let chosen = names.iter().position(|name| name == text);
            chosen.map(|at| at as u64).ok_or_else(|| {
                format!("{} is not among them{}", show(node), hint(text, names.iter().copied()))
            })
        }
        (Kind::Flag | Kind::Choice(_), _) => Err(mismatch(kind, node)),
        (Kind::Count, Node::Number(text)) if !is_whole(text) => Err(mismatch(kind, node)),
        (_, Node::Number(text)) => within(text, places(kind), range)
            .ok_or_else(|| format!("{} is out of range", show(node))),
        _ => Err(mismatch(kind, node)),
    }
}

/// The strategy that `node` names.
pub(super) fn read_strategy(node: &Node) -> Result<Strategy, String> {
    let at = read(STRATEGY, (0, STRATEGIES.len() as u64 - 1), node)?;
    Ok(Strategy::ALL.into_iter().nth(at as usize).unwrap_or_default())
}

/// How a key shows in a path.
pub(super) fn segment(key: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '/' | ':');
    if !key.is_empty() && key.chars().all(plain) { cut(key) } else { quoted(key) }
}

/// A question whether one of `names` was meant, if one of them is near.
pub(super) fn hint<'n>(written: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let near = |name: &&str| is_near(written, name);
    let name = names.into_iter().find(near);
    name.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

/// Decimals of which `kind` keeps so many.
pub(super) const fn places(kind: Kind) -> u32 {
    match kind {
        Kind::Flag | Kind::Count | Kind::Choice(_) => 0,
        Kind::Length => 6,
        Kind::Tenths | Kind::Percent => 1,
        Kind::Thousandths => 3,
    }
}

fn mismatch(kind: Kind, node: &Node) -> String {
    let expected = match kind {
        Kind::Flag => "true or false",
        Kind::Count => "a whole number",
        Kind::Length | Kind::Tenths | Kind::Percent | Kind::Thousandths => "a number",
        Kind::Choice(_) => "a string",
    };
    format!("{} is not {expected}", show(node))
}

fn show(node: &Node) -> String {
    match node {
        Node::Null => "null".into(),
        Node::Flag(on) => on.to_string(),
        Node::Number(text) => cut(text),
        Node::Text(text) if NOT_NUMBERS.contains(&text.as_str()) => text.clone(),
        Node::Text(text) => quoted(text),
        Node::List => "a list".into(),
        Node::Object(_) => "an object".into(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", cut(text).escape_debug())
}

/// No more of it than fits into a line.
fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into(),
    }
}

/// Whether the two differ in one or two letters, and not in most of them.
fn is_near(one: &str, other: &str) -> bool {
    let most = if other.len() < 5 { 1 } else { 2 };
    one.len().abs_diff(other.len()) <= most && distance(one.as_bytes(), other.as_bytes()) <= most
}

/// Letters to change, leave out or put in to make one of the other (Levenshtein).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.iter().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (cell, their) in
            row.iter_mut().zip(core::iter::once(None).chain(other.iter().map(Some)))
        {
            let Some(their) = their else {
                *cell = left;
                continue;
            };
            let above = *cell;
            left = (diagonal + usize::from(byte != their)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
    }
    row.pop().unwrap_or_default()
}

pub(super) const STRATEGY: Kind = Kind::Choice(&STRATEGIES);
const STRATEGIES: [&str; 4] = {
    let [one, two, three, four] = Strategy::ALL;
    [one.name(), two.name(), three.name(), four.name()]
};
const SHOWN: usize = 48;
