//! Finds the answer to one request among whatever else comes over a line.

use heapless::Vec;

/// Names a request. Its answer repeats it.
pub const REQUEST_ID: &str = "x-client-request-id";

/// Takes a stream byte by byte, and stops at the end of the head that repeats `id`.
///
/// A line that nobody can close still brings what was asked of an earlier attempt: the rest of a
/// body, or whole answers. They are no answers to this request, whatever they say.
#[derive(Debug)]
pub struct Heads<const N: usize> {
    id: u32,
    seen: Vec<u8, N>,
    skipped: u32,
}

impl<const N: usize> Heads<N> {
    /// Looks for the answer to request `id`. A head of more than `N` bytes is not found.
    #[must_use]
    pub const fn of(id: u32) -> Self {
        Self { id, seen: Vec::new(), skipped: 0 }
    }

    /// Takes one byte more. The head, if it ends it.
    pub fn push(&mut self, byte: u8) -> Option<&[u8]> {
        if self.seen.is_full() {
            self.keep(STATUS_LINE);
        }
        // There is room.
        let _ = self.seen.push(byte);
        let begun = self.seen.len().saturating_sub(STATUS_LINE);
        if begins_answer(&self.seen[begun..]) {
            self.keep(STATUS_LINE);
        }
        if !(begins_answer(&self.seen) && self.seen.ends_with(b"\r\n\r\n")) {
            return None;
        }
        if answers(&self.seen) == Some(self.id) || cfg!(fault = "any_answer") {
            return Some(&self.seen);
        }
        self.skipped += 1;
        self.seen.clear();
        None
    }

    /// Heads of other answers so far.
    #[must_use]
    pub const fn skipped(&self) -> u32 {
        self.skipped
    }

    /// Forgets all but the last `count` bytes.
    fn keep(&mut self, count: usize) {
        let from = self.seen.len().saturating_sub(count);
        self.seen.copy_within(from.., 0);
        self.seen.truncate(count);
    }
}

/// The number that a request's head gives it.
#[must_use]
pub fn asks(request: &[u8]) -> Option<u32> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(request).ok()?;
    id(parsed.headers)
}

/// The number of the request that a head answers.
fn answers(head: &[u8]) -> Option<u32> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(head).ok()?;
    id(parsed.headers)
}

fn id(headers: &[httparse::Header<'_>]) -> Option<u32> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(REQUEST_ID))?;
    core::str::from_utf8(header.value).ok()?.parse().ok()
}

/// Whether `bytes` begin like `HTTP/1.1 200`.
fn begins_answer(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"HTTP/1.") else { return false };
    matches!(rest, [b'0' | b'1', b' ', b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', ..])
}

const STATUS_LINE: usize = "HTTP/1.1 200".len();
const HEADERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::Heads;

    const LATE: &str = "HTTP/1.1 200 OK\r\nX-Client-Request-Id: 6\r\ncontent-length: 4\r\n\r\nlate";
    const OWN: &str = "HTTP/1.1 429 Too Many Requests\r\nx-client-request-id: 7\r\n\r\n";

    /// The head found, what follows it, and how many others were skipped.
    fn find<const N: usize>(stream: &str) -> Option<(String, String, u32)> {
        let mut heads = Heads::<N>::of(7);
        let at = stream.bytes().position(|byte| heads.push(byte).is_some())?;
        let head = String::from_utf8(heads.seen.to_vec()).ok()?;
        Some((head, stream[at + 1..].to_owned(), heads.skipped()))
    }

    fn found(body: &str, skipped: u32) -> Option<(String, String, u32)> {
        Some((OWN.to_owned(), body.to_owned(), skipped))
    }

    #[test]
    fn the_answer_to_a_request_is_found() {
        assert_eq!(find::<128>(&format!("{OWN}body")), found("body", 0));
    }

    #[test]
    fn the_rest_of_a_body_is_no_answer() {
        assert_eq!(find::<128>(&format!("role\":\"x\"}}]\r\n\r\n}}{OWN}")), found("", 0));
    }

    #[test]
    fn late_answers_are_skipped() {
        assert_eq!(find::<128>(&format!("{LATE}{LATE}{OWN}body")), found("body", 2));
    }

    #[test]
    fn an_answer_cut_off_in_its_head_hides_none() {
        for cut in 0..LATE.len() {
            let (_, body, _) = find::<128>(&format!("{}{OWN}body", &LATE[..cut])).unwrap();
            assert_eq!(body, "body", "cut after {cut} bytes");
        }
    }

    #[test]
    fn an_answer_that_names_no_request_is_skipped() {
        let bare = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(find::<128>(&format!("{bare}{OWN}")), found("", 1));
    }

    #[test]
    fn what_is_longer_than_a_head_may_be_hides_none() {
        assert_eq!(find::<128>(&format!("{}{OWN}", "x".repeat(1000))), found("", 0));
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1000));
        assert_eq!(find::<128>(&format!("{long}{OWN}")), found("", 0));
        assert_eq!(find::<128>(&long.replace("x:", "x-client-request-id: 7\r\nx:")), None);
    }
}
