//! Whether the edge client met all that the service's script has, and lived on.

use std::collections::BTreeMap;

/// What the client printed of its requests, beside what the service did meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Script {
    phase: String,
    requests: BTreeMap<u32, Request>,
}

/// One attempt.
#[derive(Debug)]
struct Request {
    call: u32,
    /// What the service did when it began.
    phase: String,
    /// In milliseconds.
    began: u64,
    /// The head of an answer came, and it said 200.
    head: bool,
    /// How it ended, unless it was given up.
    ended: Option<(u64, String)>,
}

impl Script {
    /// The service begins something.
    pub(crate) fn phase(&mut self, line: &str) {
        self.phase = line.to_owned();
    }

    /// The client printed a line.
    pub(crate) fn take(&mut self, line: &str) {
        if let Some(began) = line.strip_prefix("> ") {
            let (at, rest) = began.split_once(" request ").unwrap_or_default();
            let (id, call) = rest.split_once(" of call ").unwrap_or_default();
            if let (Ok(began), Ok(id), Ok(call)) = (at.parse(), id.parse(), call.parse()) {
                let phase = self.phase.clone();
                self.requests.insert(id, Request { call, phase, began, head: false, ended: None });
            }
        } else if let Some((at, rest)) =
            line.strip_prefix("< ").and_then(|ended| ended.split_once("request "))
        {
            let (id, what) = rest.split_once(": ").unwrap_or_default();
            let request = id.parse().ok().and_then(|id: u32| self.requests.get_mut(&id));
            match (request, at.trim().parse()) {
                (Some(request), Ok(at)) => request.ended = Some((at, what.to_owned())),
                (Some(request), Err(_)) => request.head = true,
                (None, _) => {}
            }
        }
    }

    /// What did not happen, or was not survived.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let mut hold = |what: &str, holds: bool| {
            if !holds {
                missing.push(format!("wrong: {what}"));
            }
        };
        let waited = self.retries_after_a_wait();
        hold("a 429 with Retry-After was retried", !waited.is_empty());
        hold("no retry came earlier than asked", waited.iter().all(|(asked, was)| was >= asked));
        let (overloaded, silent, closed) = (
            |request: &Request| request.says("status 503"),
            |request: &Request| request.head && request.ended.is_none(),
            |request: &Request| {
                let cut = ["resets", "refuses"].iter().any(|phase| request.phase.contains(phase));
                cut && !request.head && request.ended.is_none()
            },
        );
        hold("a 503 was survived", self.survived(overloaded));
        hold("silence in mid-body was survived", self.survived(silent));
        hold("a closed connection was survived, and opened again", self.survived(closed));
        missing
    }

    /// Milliseconds that an answer asked for, and that the same call's next request came after it.
    fn retries_after_a_wait(&self) -> Vec<(u64, u64)> {
        let pairs = self.requests.values().zip(self.requests.values().skip(1));
        pairs
            .filter_map(|(request, next)| {
                let (ended, what) = request.ended.as_ref()?;
                let asked = what.strip_prefix("status 429, asked to wait ")?.strip_suffix(" ms")?;
                (next.call == request.call).then_some(())?;
                Some((asked.parse().ok()?, next.began.saturating_sub(*ended)))
            })
            .collect()
    }

    /// Whether it happened, and a request was answered after the last time.
    fn survived(&self, happened: impl Fn(&Request) -> bool) -> bool {
        let last = self.requests.values().rposition(&happened);
        last.is_some_and(|last| self.requests.values().skip(last).any(|r| r.says("answered")))
    }
}

impl Request {
    fn says(&self, what: &str) -> bool {
        self.ended.as_ref().is_some_and(|(_, said)| said.starts_with(what))
    }
}

#[cfg(test)]
mod tests {
    use super::Script;

    /// All that the script has, each once, and an answer at the end.
    const WHOLE: [&str; 15] = [
        "> 100 request 1 of call 1",
        "< 120 request 1: status 429, asked to wait 1000 ms",
        "> 1120 request 2 of call 1",
        "< 1140 request 2: status 503",
        "> 2000 request 3 of call 2",
        "< request 3: its head has come",
        "! 22.0 s  resets connections",
        "> 3000 request 4 of call 3",
        "! 23.5 s  refuses connections",
        "> 4000 request 5 of call 3",
        "! 25.5 s  is healthy",
        "> 5000 request 6 of call 4",
        "< request 6: its head has come",
        "< 5010 request 6: answered",
        "· breaker opened",
    ];

    fn missing(lines: impl Iterator<Item = &'static str>) -> Vec<String> {
        let mut script = Script::default();
        for line in lines {
            match line.strip_prefix("! ") {
                Some(phase) => script.phase(phase),
                None => script.take(line),
            }
        }
        script.missing()
    }

    #[test]
    fn a_whole_script_lacks_nothing() {
        assert_eq!(missing(WHOLE.into_iter()), [""; 0]);
    }

    #[test]
    fn what_did_not_happen_is_missing() {
        let lacks = |at: &[usize]| {
            let kept = WHOLE.iter().enumerate().filter(|(line, _)| !at.contains(line));
            missing(kept.map(|(_, line)| *line))
        };
        assert_eq!(lacks(&[1]), ["wrong: a 429 with Retry-After was retried"]);
        assert_eq!(lacks(&[3]), ["wrong: a 503 was survived"]);
        assert_eq!(lacks(&[5]), ["wrong: silence in mid-body was survived"]);
        let closed = "wrong: a closed connection was survived, and opened again";
        assert_eq!(lacks(&[7, 9]), [closed]);
        assert_eq!(lacks(&[13]).len(), 3, "nothing was survived");
    }

    #[test]
    fn a_retry_that_is_early_is_told() {
        let early = WHOLE.map(|line| line.replace("> 1120", "> 1119").leak() as &str);
        assert_eq!(missing(early.into_iter()), ["wrong: no retry came earlier than asked"]);
    }
}
