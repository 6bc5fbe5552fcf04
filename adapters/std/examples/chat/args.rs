//! What the command line may say.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::script::{DEVICE, LARGE, Model};

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
    /// Starts the service alone, and serves until it is killed
    #[arg(long, conflicts_with_all = ["json", "config", "out"])]
    pub(crate) serve_only: bool,
    /// Where it is to listen; 0 takes a free port. It is printed
    #[arg(long, value_name = "PORT", default_value_t = 0, requires = "serve_only")]
    pub(crate) port: u16,
    /// What it is to live through, from the first connection on
    #[arg(long, value_enum, default_value_t = Script::Story, requires = "serve_only")]
    pub(crate) script: Script,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Script {
    /// What the large model lives through in the demonstration
    Story,
    /// What a device on a serial line should survive
    Device,
}

impl Script {
    pub(crate) const fn model(self) -> Model {
        match self {
            Self::Story => LARGE,
            Self::Device => DEVICE,
        }
    }
}
