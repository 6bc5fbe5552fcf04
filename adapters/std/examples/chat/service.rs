//! A chat service on the loopback that lives by a script: real sockets, real HTTP, real failures.

use core::{
    convert::Infallible,
    future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use std::{collections::VecDeque, io, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::post,
};
use hyper::{
    body::{Body as HttpBody, Frame, SizeHint},
    server::conn::http1,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use crate::script::{self, Model, Phase, RETRY_AFTER_SECONDS};

/// Names a request; the service's latency for it follows from the name and the seed. The answer
/// repeats it.
pub(crate) const REQUEST_ID: &str = "x-client-request-id";

/// A service at work. Dropped, it is gone with its connections.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    running: JoinHandle<()>,
}

impl Service {
    /// Serves `model` on a free port of the loopback; its script begins at `epoch`.
    pub(crate) async fn start(model: Model, seed: u64, epoch: Instant) -> io::Result<Self> {
        let listener = TcpListener::bind((LOOPBACK, 0)).await?;
        let address = listener.local_addr()?;
        let life = Arc::new(Life { model, seed, epoch });
        let running = tokio::spawn(async move {
            if let Err(error) = live(listener, address, &life, JoinSet::new()).await {
                eprintln!("the service of the {} model stopped: {error}", life.model.name);
            }
        });
        Ok(Self { address, running })
    }
}

/// Serves `model` on `port` of the loopback, or a free one if that is 0. Its script begins with the
/// first connection.
pub(crate) async fn serve(model: Model, seed: u64, port: u16) -> io::Result<()> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("port {port} of {LOOPBACK}: {error}"))
    };
    let listener = TcpListener::bind((LOOPBACK, port)).await.map_err(named)?;
    let address = listener.local_addr()?;
    println!("serving http://{address}{PATH}");

    let (first, _) = listener.accept().await?;
    let life = Arc::new(Life { model, seed, epoch: Instant::now() });
    let mut connections = JoinSet::new();
    connections.spawn(serve_one(first, Arc::clone(&life)));
    connections.spawn(tell(Arc::clone(&life)));
    live(listener, address, &life, connections).await
}

/// Says what the service does when it begins to.
async fn tell(life: Arc<Life>) {
    for (begins, act) in script::scenes(life.model.script) {
        sleep_until(life.epoch + begins).await;
        println!("{:4.1} s  {}", begins.as_secs_f64(), act.phase.deed());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.running.abort();
    }
}

#[derive(Debug)]
struct Life {
    model: Model,
    seed: u64,
    epoch: Instant,
}

impl Life {
    fn phase_at(&self, elapsed: Duration) -> Phase {
        script::phase_at(self.model.script, elapsed)
    }

    /// Completes when, after `elapsed`, the next phase begins for which `is_sought` holds, if ever.
    async fn next(&self, elapsed: Duration, is_sought: fn(Phase) -> bool) {
        match script::next(self.model.script, elapsed, is_sought) {
            Some(begins) => sleep_until(self.epoch + begins).await,
            None => future::pending().await,
        }
    }
}

/// The accept loop. A phase that refuses closes the listener for real.
async fn live(
    mut listener: TcpListener,
    address: SocketAddr,
    life: &Arc<Life>,
    mut connections: JoinSet<()>,
) -> io::Result<()> {
    loop {
        // Read once a turn, so that no phase begins between looking at it and waiting for it.
        let elapsed = life.epoch.elapsed();
        if life.phase_at(elapsed) == Phase::Refusing {
            drop(listener);
            // Bound, not listening: connecting is refused, and nobody else gets the port meanwhile.
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            life.next(elapsed, |_| true).await;
            listener = socket.listen(BACKLOG)?;
            continue;
        }
        tokio::select! {
            // What goes wrong with one connection is not the service's end.
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve_one(stream, Arc::clone(life)));
            }
            () = life.next(elapsed, |phase| phase == Phase::Refusing) => {}
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until the client leaves or a phase cuts it.
async fn serve_one(stream: TcpStream, life: Arc<Life>) {
    let elapsed = life.epoch.elapsed();
    if life.phase_at(elapsed).cuts() {
        return reset(&stream);
    }
    let router = Router::new()
        .route(PATH, post(complete))
        .layer(middleware::from_fn(name))
        .with_state(Arc::clone(&life));
    let mut connection = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let is_cut = tokio::select! {
        _ = &mut connection => false,
        () = life.next(elapsed, Phase::cuts) => true,
    };
    if is_cut {
        reset(connection.into_parts().io.inner());
    }
}

/// Makes the close of `stream` a reset instead of a farewell.
fn reset(stream: &TcpStream) {
    // A socket that the peer has closed already needs no reset.
    let _ = stream.set_zero_linger();
}

/// Lets the answer say which request it is to.
async fn name(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn complete(
    State(life): State<Arc<Life>>,
    headers: HeaderMap,
    Json(question): Json<Question>,
) -> Response {
    let number = headers.get(REQUEST_ID).map_or(&[][..], |id| id.as_bytes());
    let chance = chance(life.seed, number);
    let elapsed = life.epoch.elapsed();
    match life.phase_at(elapsed) {
        Phase::Healthy | Phase::Recovered => {
            sleep(life.model.healthy.at(chance)).await;
            Json(answer(&life.model, &question)).into_response()
        }
        Phase::Slow => {
            sleep(life.model.slow.at(chance)).await;
            Json(answer(&life.model, &question)).into_response()
        }
        Phase::Halting => {
            let whole = Bytes::from(answer(&life.model, &question).to_string());
            let resumes = async move { life.next(elapsed, |_| true).await };
            ([(CONTENT_TYPE, "application/json")], Body::new(Halting::new(whole, resumes)))
                .into_response()
        }
        Phase::RateLimited => {
            let refusal = error(
                StatusCode::TOO_MANY_REQUESTS,
                "rate limit reached",
                "requests",
                "rate_limit_exceeded",
            );
            ([(RETRY_AFTER, RETRY_AFTER_SECONDS.to_string())], refusal).into_response()
        }
        Phase::Overloaded => error(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "server_error",
            "server_is_overloaded",
        ),
        // The last two for a request that came with the cut.
        Phase::Silent | Phase::Resetting | Phase::Refusing => future::pending().await,
    }
}

fn answer(model: &Model, request: &Question) -> Value {
    let question = request.messages.last().map_or("", |message| message.content.as_str());
    let text = format!("You asked {} characters of {}.", question.len(), request.model);
    // About four characters are a token.
    let (asked, said) = (question.len().div_ceil(4), text.len().div_ceil(4));
    let usage = json!({
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
    });
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": model.name,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": text },
            "finish_reason": "stop",
        }],
        "usage": usage,
    })
}

/// An answer with a pause in its middle.
struct Halting {
    halves: VecDeque<Bytes>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Halting {
    fn new(mut whole: Bytes, pause: impl Future<Output = ()> + Send + 'static) -> Self {
        let rest = whole.split_off(whole.len() / 2);
        Self { halves: [whole, rest].into(), pause: Some(Box::pin(pause)) }
    }
}

impl HttpBody for Halting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let (1, Some(pause)) = (self.halves.len(), &mut self.pause) {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        Poll::Ready(self.halves.pop_front().map(|half| Ok(Frame::data(half))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.halves.iter().map(|half| half.len() as u64).sum())
    }
}

fn error(status: StatusCode, message: &str, kind: &str, code: &str) -> Response {
    (
        status,
        Json(json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })),
    )
        .into_response()
}

/// From 0 to 1, the same for the same request in every run.
fn chance(seed: u64, request: &[u8]) -> f64 {
    // FNV-1a: any mixing does, the generator spreads it.
    let seed = request
        .iter()
        .fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    SmallRng::seed_from_u64(seed).random()
}

/// What of a request matters here.
#[derive(Debug, Deserialize)]
struct Question {
    model: String,
    messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: String,
}

const LOOPBACK: &str = "127.0.0.1";
const PATH: &str = "/v1/chat/completions";
const BACKLOG: u32 = 1_024;
