//! One outage, called twice: bare, then under a policy.
//!
//! `cargo run --release -p steadfast-std --example chat` starts a chat service on the loopback that
//! lives through the script in `script.rs`, drives the same seeded load against it with a plain
//! timeout and then under the policy in `policy.rs`, and ends with a table and a timeline.
//! With `-- --serve-only` it is the service alone.

mod args;
mod client;
mod load;
mod metrics;
mod picture;
mod policy;
mod progress;
mod report;
mod script;
mod service;

use core::{error, fmt};
use std::{fs, io, path::Path, process::ExitCode, sync::Arc};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use tokio::time::timeout;

use crate::{
    args::Args,
    load::{Book, Caller, Outcome},
    picture::Scene,
    report::Summary,
    script::ATTEMPT_TIMEOUT,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.serve_only {
        return end(service::serve(args.script.model(), args.seed, args.port).await);
    }
    if let Err(error) = make_room(&args.out) {
        let message = format!("cannot write {}: {error}", args.out.display());
        Args::command().error(ErrorKind::ValueValidation, message).exit();
    }
    end(story(&args).await)
}

fn end<E: fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn story(args: &Args) -> Result<(), Box<dyn error::Error>> {
    let bare = Book::new().fill("bare", args.seed, call_bare).await?;
    let book = Book::new();
    policy::RECORDER.write_with(book.pen());
    let _followed = args.config.as_deref().map(policy::follow).transpose()?;
    let guarded = book.fill("policy", args.seed, policy::call).await?;

    let (bare_figures, guarded_figures) = (Summary::of(&bare), Summary::of(&guarded));
    let scenes = [
        Scene {
            title: format!("Bare: a timeout of {} s", ATTEMPT_TIMEOUT.as_secs_f64()),
            run: &bare,
            figures: &bare_figures,
            has_policy: false,
        },
        Scene {
            title: "Under the policy".to_owned(),
            run: &guarded,
            figures: &guarded_figures,
            has_policy: true,
        },
    ];
    let counted = policy::counted();
    metrics::check(&counted, &guarded_figures)?;

    picture::draw(&args.out, args.seed, &scenes)?;
    let table = report::table(&bare_figures, &guarded_figures);
    let ending = format!("{table}\ntimeline: {}", args.out.display());
    if args.json {
        eprintln!("{ending}");
        println!("{:#}", policy::reported());
    } else {
        println!("{ending}");
    }
    Ok(())
}

/// What the policy is held against: one attempt, a plain timeout.
async fn call_bare(caller: Arc<Caller>) -> Outcome {
    match timeout(ATTEMPT_TIMEOUT, caller.ask_large(1)).await {
        Ok(Ok(_)) => Outcome::Answered,
        _ => Outcome::Failed,
    }
}

/// Finds out before the run, not after it, that the timeline cannot be written.
fn make_room(out: &Path) -> io::Result<()> {
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)?;
    }
    // Does not touch the timeline of an earlier run.
    fs::OpenOptions::new().append(true).create(true).open(out).map(drop)
}
