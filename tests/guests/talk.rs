//! Guests that log and report progress.

use crate::results::Echo;
use palisade_sdk::{Level, Result, arguments, cancelled, log, progress, tool};
use std::time::Duration;

/// How much.
#[arguments]
pub struct Chatter {
    /// Lines.
    pub lines: u32,
}

/// How long.
#[arguments]
pub struct Work {
    /// Steps of 50 ms.
    pub steps: u32,
}

/// Logs many lines.
#[tool]
pub fn chatter(args: Chatter) -> Result<String> {
    for line in 0..args.lines {
        log(Level::Info, &format!("line {line} \u{1b}[31mred"));
    }
    Ok("done".to_owned())
}

/// Logs a text and reports it as progress.
#[tool]
pub fn say(args: Echo) -> Result<String> {
    log(Level::Warn, &args.text);
    progress(1.0, None, &args.text);
    Ok("said".to_owned())
}

/// Reports progress as often as it can.
#[tool]
pub fn report(args: Chatter) -> Result<String> {
    for line in 0..args.lines {
        progress(f64::from(line), None, &"x".repeat(1000));
    }
    Ok("reported".to_owned())
}

/// Works in steps, reports each, and stops when the caller gives up.
#[tool]
pub fn work(args: Work) -> Result<String> {
    for step in 0..args.steps {
        if cancelled() {
            return Err(format!("stopped at step {step}").into());
        }
        progress(f64::from(step), Some(f64::from(args.steps)), "working");
        std::thread::sleep(Duration::from_millis(50));
    }
    progress(f64::from(args.steps), Some(f64::from(args.steps)), "worked");
    Ok("worked".to_owned())
}
