//! One chat completion over the wire, and what its failure says.

use core::{error, fmt, net::SocketAddr, time::Duration};

use reqwest::{Client, StatusCode, header::RETRY_AFTER, retry};
use serde::Deserialize;
use serde_json::json;
use steadfast::{Class, Classify, Verdict};

use crate::{script::Model, service::REQUEST_ID};

/// A chat service as its callers see it. A clone shares the connections.
#[derive(Clone, Debug)]
pub(crate) struct Chat {
    http: Client,
    url: String,
    model: &'static str,
}

impl Chat {
    /// Without time limits and retries of its own: those are the caller's.
    pub(crate) fn at(address: SocketAddr, model: Model) -> reqwest::Result<Self> {
        let http = Client::builder().no_proxy().retry(retry::never()).build()?;
        Ok(Self { http, url: format!("http://{address}/v1/chat/completions"), model: model.name })
    }

    /// One request, one answer. Dropped, it closes its connection.
    pub(crate) async fn ask(
        &self,
        request_id: String,
        question: &str,
    ) -> Result<String, CallError> {
        let body =
            json!({ "model": self.model, "messages": [{ "role": "user", "content": question }] });
        let request = self.http.post(&self.url).header(REQUEST_ID, request_id).json(&body);
        let response = request.send().await.map_err(CallError::Connection)?;
        let status = response.status();
        if status != StatusCode::OK {
            let header = response.headers().get(RETRY_AFTER);
            let seconds =
                header.and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
            return Err(CallError::Status { status, asked_wait: seconds.map(Duration::from_secs) });
        }
        let completion: Completion = response.json().await.map_err(CallError::Connection)?;
        completion
            .choices
            .into_iter()
            .next()
            .map(|choice| choice.message.content)
            .ok_or(CallError::Empty)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    Status {
        status: StatusCode,
        asked_wait: Option<Duration>,
    },
    /// Refused, reset, or cut before the answer was whole.
    Connection(reqwest::Error),
    /// Answered, with no choice in it.
    Empty,
    TimedOut,
}

impl Classify for CallError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Status { status, asked_wait } => {
                let verdict = Verdict::of(class(status.as_u16()));
                asked_wait.map_or(verdict, |wait| verdict.not_before(wait))
            }
            Self::Connection(_) | Self::Empty => Verdict::of(Class::Transient),
            Self::TimedOut => Verdict::of(Class::Timeout),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, .. } => write!(f, "the service answered {status}"),
            Self::Connection(_) => f.write_str("the connection failed"),
            Self::Empty => f.write_str("the answer was empty"),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl error::Error for CallError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            _ => None,
        }
    }
}

const fn class(status: u16) -> Class {
    match status {
        429 => Class::RateLimited,
        503 | 529 => Class::Overloaded,
        401 | 403 => Class::Auth,
        501 | 505 => Class::Permanent,
        500..=599 => Class::Transient,
        _ => Class::Permanent,
    }
}

#[derive(Debug, Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Answer,
}

#[derive(Debug, Deserialize)]
struct Answer {
    content: String,
}
