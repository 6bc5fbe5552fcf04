//! What the device wants to know of a reading: from the model, or from itself.

use core::fmt::{self, Write as _};
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use embedded_nal_async::{AddrType, Dns, TcpConnect};
use heapless::String;
use reqwless::client::HttpClient;
use reqwless::headers::ContentType;
use reqwless::request::{Method, RequestBuilder as _};
use semihosting::println;
use serde::{Deserialize, Serialize};
use steadfast::{Class, Classify, Verdict};

use firmware::heads::REQUEST_ID;

/// What the sensor says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) number: u32,
    pub(crate) millikelvin: u32,
}

/// What to do about it.
#[derive(Debug)]
pub(crate) struct Advice {
    pub(crate) by: By,
    pub(crate) text: String<64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Model,
    Device,
}

/// Why an attempt brought no advice.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The service answered with something else than 200.
    Status { status: u16, retry_after: Option<Duration> },
    /// The answer is no completion.
    Garbled,
    /// No answer came through.
    Network(reqwless::Error),
}

impl Reading {
    pub(crate) const fn of(number: u32) -> Self {
        Self { number, millikelvin: 290_000 + number * 3_701 % 12_000 }
    }

    /// The question, of another length for each of 40 readings in a row.
    fn question(self) -> String<128> {
        let mut question = String::new();
        let Self { number, millikelvin } = self;
        // It fits.
        let _ = write!(question, "reading {number}: {millikelvin} mK");
        let _ = (0..number % 40).try_for_each(|_| question.push('.'));
        question
    }

    /// Whether the model's advice is about another reading.
    pub(crate) fn is_mistaken(self, advice: &Advice) -> bool {
        let length = |text: &str| text.strip_prefix("You asked ")?.split(' ').next()?.parse().ok();
        advice.by == By::Model && length(&advice.text) != Some(self.question().len())
    }

    /// What the device can say by itself.
    pub(crate) fn canned(self) -> Advice {
        let text = match self.millikelvin {
            ..298_000 => "all is well",
            _ => "open the vent",
        };
        Advice { by: By::Device, text: text.try_into().unwrap_or_default() }
    }
}

/// Asks the model about `reading`, once. `id` is of this request alone.
pub(crate) async fn ask<T: TcpConnect>(
    network: &T,
    id: u32,
    reading: Reading,
) -> Result<Advice, CallError> {
    let mut name = String::<10>::new();
    let _ = write!(name, "{id}");
    let question = reading.question();
    let messages = [Asked { role: "user", content: &question }];
    let body: String<256> = serde_json_core::to_string(&Question { model: "large", messages })
        .map_err(|_| CallError::Garbled)?;

    let mut client = HttpClient::new(network, &Loopback);
    let headers = [(REQUEST_ID, name.as_str())];
    let mut request = client
        .request(Method::POST, URL)
        .await?
        .content_type(ContentType::ApplicationJson)
        .headers(&headers)
        .body(body.as_bytes());
    let mut buffer = [0; 1_024];
    let response = request.send(&mut buffer).await?;
    if response.status.0 != 200 {
        let header = response.headers().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
        let seconds = header.and_then(|(_, value)| str::from_utf8(value).ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        return Err(CallError::Status { status: response.status.0, retry_after });
    }
    println!("     < request {id}: its head has come");
    let body = response.body().read_to_end().await?;
    let (answer, _) =
        serde_json_core::from_slice::<Answer<'_>>(body).map_err(|_| CallError::Garbled)?;
    let [choice] = answer.choices;
    let text = choice.message.content.try_into().map_err(|_| CallError::Garbled)?;
    Ok(Advice { by: By::Model, text })
}

impl Classify for CallError {
    fn verdict(&self) -> Verdict {
        let Self::Status { status, retry_after } = *self else {
            return Verdict::of(Class::Transient);
        };
        let verdict = Verdict::of(match status {
            429 => Class::RateLimited,
            503 | 529 => Class::Overloaded,
            408 | 500.. => Class::Transient,
            401 | 403 => Class::Auth,
            402 => Class::Quota,
            413 => Class::Context,
            _ => Class::Permanent,
        });
        retry_after.map_or(verdict, |wait| verdict.not_before(wait))
    }
}

impl From<reqwless::Error> for CallError {
    fn from(error: reqwless::Error) -> Self {
        Self::Network(error)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, retry_after: Some(wait) } => {
                write!(f, "status {status}, asked to wait {} ms", wait.as_millis())
            }
            Self::Status { status, retry_after: None } => write!(f, "status {status}"),
            Self::Garbled => f.write_str("no completion"),
            Self::Network(error) => error.fmt(f),
        }
    }
}

/// The names of a device that only knows one host.
struct Loopback;

impl Dns for Loopback {
    type Error = reqwless::Error;

    async fn get_host_by_name(&self, _: &str, _: AddrType) -> Result<IpAddr, reqwless::Error> {
        Ok(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, reqwless::Error> {
        Err(reqwless::Error::Dns)
    }
}

#[derive(Serialize)]
struct Question<'q> {
    model: &'q str,
    messages: [Asked<'q>; 1],
}

#[derive(Serialize)]
struct Asked<'q> {
    role: &'q str,
    content: &'q str,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    choices: [Choice<'a>; 1],
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Said<'a>,
}

#[derive(Deserialize)]
struct Said<'a> {
    content: &'a str,
}

const URL: &str = "http://localhost/v1/chat/completions";
