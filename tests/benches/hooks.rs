//! What guards cost a call, beside the same call without, and beside a native hook of the simplest kind.

use palisade::Host;
use palisade::sandbox::Allocator;
use palisade_tests::bench::{call, figure, load_with, median, options, runtime, time};
use palisade_tests::{World, example, root};
use std::path::Path;
use std::process::{Command, Stdio};

/// Rounds in which the sides of a ratio take turns; the middle one is quoted.
const ROUNDS: usize = 15;
const CALL: (&str, &str) = ("text-stats/count", r#"{"text":"one two three"}"#);

fn main() {
    // Asked for by a test runner that lists tests: this is none.
    if std::env::args().any(|a| a == "--list") {
        return;
    }
    let runtime = runtime();
    let guard = root().join("target/hooks/secret-guard");
    let run = |host: &Host| {
        let record = runtime.block_on(call(host, CALL.0, CALL.1));
        assert!(record.error.is_none() && record.denial.is_none(), "{record:?}");
    };
    for (with, audit) in [("", None), (", with the audit log", Some(palisade::audit::Sizes::default()))] {
        let hosts = [0, 1, 10].map(|guards| guarded(&guard, guards, audit));
        let rounds: Vec<[f64; 3]> = (0..ROUNDS).map(|_| hosts.each_ref().map(|(_, host)| time(|| run(host)))).collect();
        let of = |pick: fn(&[f64; 3]) -> f64| median(rounds.iter().map(pick).collect());
        let (none, one, ten) = (of(|r| r[0]), of(|r| r[1]), of(|r| r[2]));
        let value = format!("{:.2} µs, without {:.2} µs: {:.2} ×", one / 1e3, none / 1e3, of(|r| r[1] / r[0]));
        figure(&format!("`Host::call` {} with one guard (secret-guard){with}", CALL.0), &value, "at most 1.8 ×");
        let value = format!("{:.2} µs: {:.1} × what one adds", ten / 1e3, of(|r| (r[2] - r[0]) / (r[1] - r[0])));
        figure(&format!("the same with ten guards{with}"), &value, "at most 11 ×");
        if audit.is_none() {
            native(one - none);
        }
    }
}

/// A host of one plugin with so many guards.
fn guarded(guard: &Path, guards: usize, audit: Option<palisade::audit::Sizes>) -> (World, Host) {
    let world = World::new();
    let entry = format!("[[hooks]]\ndir = \"{}\"\nkind = \"guard\"\nevents = [\"before-call\"]\n", guard.display());
    world.write("home/config.toml", entry.repeat(guards));
    let host = load_with(&world, &options(&world, vec![example("text-stats")], 0), Allocator::Pool(palisade::POOL), audit);
    assert!(host.hooks().len() == guards && host.hooks().iter().all(|hook| hook.broken.is_none()), "every guard runs");
    (world, host)
}

/// What another host's hook costs that does nothing: a shell that ends at once.
fn native(guard: f64) {
    let shell = || {
        let status = Command::new("sh").args(["-c", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.expect("a shell").success());
    };
    let native = median((0..ROUNDS).map(|_| time(shell)).collect());
    let value = format!("{:.0} µs, a guard in the sandbox {:.1} µs: {:.0} ×", native / 1e3, guard / 1e3, native / guard);
    figure("a native hook, `sh -c true`, beside one guard", &value, "at least 200 ×");
}
