//! A guest with a tool for each way to misbehave in a call, and a few for behaving.

mod environment;
mod files;
mod memory;
mod net;
mod results;
mod state;
mod talk;
mod time;

/// No arguments.
#[palisade_sdk::arguments]
pub struct Nothing {}

palisade_sdk::export!(
    results::echo,
    results::refuse,
    results::trap,
    results::panic,
    results::huge,
    results::ansi,
    time::spin,
    time::sleep,
    memory::grow,
    memory::recurse,
    state::counter,
    files::read,
    files::write,
    files::entries,
    files::flood,
    files::litter,
    files::stretch,
    files::steps,
    environment::environment,
    environment::arguments,
    talk::chatter,
    talk::say,
    talk::work,
    talk::report,
    net::send
);
