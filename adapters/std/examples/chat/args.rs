//! What the command line may say.

use std::path::PathBuf;

use clap::Parser;

/// The same outage twice: called bare, then called under a policy.
///
/// Starts a chat service on the loopback that is healthy, slow, rate limited, overloaded, silent,
/// resetting, refusing and healthy again, and calls it from many tasks. Takes less than a minute;
/// ends with a table and a timeline.
#[derive(Debug, Parser)]
#[command(name = "chat")]
pub(crate) struct Args {
    /// Seeds the arrival of the calls and the service's latency, the same for both runs
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(crate) seed: u64,
    /// Prints the policy's metrics as JSON; the table goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Configures the policy's operation `chat` by this file, and anew whenever it changes
    #[arg(long, value_name = "FILE.json")]
    pub(crate) config: Option<PathBuf>,
    /// Where to draw the timeline
    #[arg(long, value_name = "PATH", default_value = "target/chat.svg")]
    pub(crate) out: PathBuf,
}
