//! `trundle init`: a file to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use crate::config;

use super::plan::CONFIG_DEFAULT;
use super::{Context, ExitCode, Failure, Outcome};

/// Options of `trundle init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Overwrite a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Outcome {
    let path = context.global.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG_DEFAULT));
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = match options.open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let shown = path.display();
            return Err(Failure::Usage(anyhow!("{shown} is there already; --force overwrites it")));
        }
        opened => opened.with_context(|| format!("write {}", path.display()))?,
    };
    file.write_all(config::template().as_bytes()).with_context(|| format!("write {}", path.display()))?;
    eprintln!("wrote {}; put your address into it, then: trundle check && trundle run", path.display());
    Ok(ExitCode::Ok)
}
