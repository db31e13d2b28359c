//! SIGINT and SIGTERM: the first asks calls to end, the second ends the process.

use palisade::Error;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How often the flag of a signal is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Turns true once somebody wants this process to end.
pub fn watch() -> Result<watch::Receiver<bool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    let refuse = |e: std::io::Error| Error::io("the signal handlers", &e);
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, the second ends us.
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone()).map_err(refuse)?;
        signal_hook::flag::register(signal, flag.clone()).map_err(refuse)?;
    }
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        while !flag.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
        let _ = sender.send(true);
    });
    Ok(receiver)
}

/// A file that may not grow is an error of the write, not the end of the process.
pub fn survive_full_files() -> Result<(), Error> {
    const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop).map_err(|e| Error::io("the signal handlers", &e))
}
