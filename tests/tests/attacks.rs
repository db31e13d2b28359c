//! What an attack costs the host: each in one process with the host, its error kind decided, its time and memory printed
//! (`make attacks` shows them).

use palisade::config::{Home, Options, Settings};
use palisade::policy::{Limit, Verdict};
use palisade::sandbox::Run;
use palisade::{Host, LoadOptions, ToolCall};
use palisade_tests::cost::{Cost, Table, measured};
use palisade_tests::raw::Module;
use palisade_tests::{World, binary, guest, raw};

/// How long a call may take that goes on for ever.
const TIME: &str = "[limits]\ntime = \"1s\"\n";
/// And one that another limit ends, in milliseconds: however slow the machine is, its time is not what ends it.
const LONG: u64 = 240_000;
/// No attack costs the host more memory than a call may have and a little for itself.
const MOST: Cost = Cost::mib(128 + 24);

/// Name, tool of the guest or component, arguments, and the kind it must end with; `ok` where the flood is dropped.
struct Attack {
    what: &'static str,
    tool: String,
    arguments: &'static str,
    kind: &'static str,
}

const LOOP: &str = "(loop $l (br $l))";

/// Attacks by hand, each a component of its own.
fn by_hand() -> Vec<(&'static str, &'static str, Module<'static>, &'static str)> {
    let plain = Module::default();
    vec![
        ("an endless loop", "loop", Module { call: "(loop $l (br $l)) (i32.const 1024)", ..plain }, "limit-time"),
        ("the same in allocation", "allocate", Module { allocate: LOOP, ..plain }, "limit-time"),
        (
            "the same after the return",
            "after",
            Module { extra: r#"(func (export "cabi_post_palisade:plugin/tools@0.1.0#call") (param i32) (loop $l (br $l)))"#, ..plain },
            "limit-time",
        ),
        (
            "memory.fill of 100 MiB, without end",
            "fill",
            Module {
                call: "(drop (memory.grow (i32.const 1600))) (loop $l (memory.fill (i32.const 65536) (i32.const 1) (i32.const 104857600)) (br $l)) (i32.const 1024)",
                ..plain
            },
            "limit-time",
        ),
        (
            "memory.fill of 2 GiB",
            "fill2",
            Module {
                call: "(drop (memory.grow (i32.const 32768))) (memory.fill (i32.const 0) (i32.const 1) (i32.const 2147483647)) (i32.const 1024)",
                ..plain
            },
            "limit-memory",
        ),
        (
            "a table of 100 million",
            "table",
            Module {
                extra: "(table $t 1 funcref)",
                call: "(drop (table.grow $t (ref.null func) (i32.const 100000000))) (i32.const 1024)",
                ..plain
            },
            "trap",
        ),
        (
            "a million list items",
            "items",
            Module {
                call: "(drop (memory.grow (i32.const 400))) (i32.store (i32.const 1028) (i32.const 65536)) (i32.store (i32.const 1032) (i32.const 1000000)) (i32.const 1024)",
                ..plain
            },
            "limit-output",
        ),
        (
            "10 000 strings over the same 60 kB",
            "alias",
            Module {
                extra: "(global $i (mut i32) (i32.const 0))",
                call: "(drop (memory.grow (i32.const 10)))
                    (loop $l
                        (i32.store (i32.add (i32.const 65540) (i32.mul (global.get $i) (i32.const 20))) (i32.const 2048))
                        (i32.store (i32.add (i32.const 65544) (i32.mul (global.get $i) (i32.const 20))) (i32.const 60000))
                        (global.set $i (i32.add (global.get $i) (i32.const 1)))
                        (br_if $l (i32.lt_u (global.get $i) (i32.const 10000))))
                    (i32.store (i32.const 1028) (i32.const 65536)) (i32.store (i32.const 1032) (i32.const 10000)) (i32.const 1024)",
                ..plain
            },
            "limit-output",
        ),
        (
            "handles without end",
            "handles",
            Module {
                imports: r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $after (param i64) (result i32)))"#,
                call: "(loop $l (drop (call $after (i64.const 1))) (br $l)) (i32.const 1024)",
                ..plain
            },
            "trap",
        ),
        (
            "a million calls into WASI",
            "asks",
            Module {
                imports: r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))"#,
                call: "(loop $l (call $random (i64.const 0) (i32.const 1024)) (br $l)) (i32.const 1024)",
                ..plain
            },
            "limit-calls",
        ),
        (
            "1 GiB of random bytes",
            "random",
            Module {
                imports: r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))"#,
                call: "(call $random (i64.const 1073741824) (i32.const 1024)) (i32.const 1024)",
                ..plain
            },
            "trap",
        ),
    ]
}

#[test]
fn every_attack_ends_with_its_kind_and_costs_no_more_than_a_call_may() {
    let world = World::new();
    let limits = |kind: &str| if kind == "limit-time" { TIME } else { "" };
    let fs = "[capabilities]\nfs = [{ path = \"@workspace/out\", access = \"write\", why = \"tests\" }]\n";
    let mut plugins = vec![world.plugin("guest", &guest("guest"), fs)];
    let mut attacks = Vec::new();
    for (what, name, module, kind) in by_hand() {
        plugins.push(world.plugin(name, &module.component(), limits(kind)));
        attacks.push(Attack { what, tool: format!("{name}/go"), arguments: "{}", kind });
    }
    let guests = [
        ("a million log lines", "chatter", r#"{"lines":999000}"#, "ok"),
        ("a million host calls", "chatter", r#"{"lines":1000001}"#, "limit-calls"),
        ("a progress flood", "report", r#"{"lines":500000}"#, "ok"),
        ("recursion without end", "recurse", "{}", "trap"),
        ("memory without end", "grow", r#"{"mib":4000}"#, "limit-memory"),
        ("a result of 100 MiB", "huge", r#"{"mib":100}"#, "limit-output"),
        ("writing 1 GiB", "flood", r#"{"count":1024}"#, "limit-output"),
        ("a file stretched to 1 TiB", "stretch", r#"{"count":1048576}"#, "limit-output"),
        ("a million small files", "litter", r#"{"count":1000000}"#, "limit-output"),
    ];
    attacks.extend(guests.map(|(what, tool, arguments, kind)| Attack { what, tool: format!("guest/{tool}"), arguments, kind }));
    std::fs::create_dir(world.path("workspace/out")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.path("workspace/out/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for _ in 0..20 {
        attacks.push(Attack {
            what: "reading a FIFO",
            tool: "guest/read".to_owned(),
            arguments: r#"{"path":"out/fifo"}"#,
            kind: "tool-failed",
        });
    }
    let options = Options {
        profile: Some("trusted".to_owned()),
        workspace: Some(world.workspace()),
        plugins,
        grants: vec!["guest:fs:write:@workspace/out".to_owned()],
        limits: vec![(Limit::Time, LONG)],
        ..Options::default()
    };
    let home = world.path("library");
    std::fs::create_dir(&home).unwrap();
    let settings = Settings::resolve(&options, Home::at(&home).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let compiler = binary();
    let load = LoadOptions { compiler: Some(&compiler), ..LoadOptions::default() };
    let host = runtime.block_on(Host::load(settings, load)).unwrap();
    assert_eq!(host.quarantined().iter().map(|q| q.error.message.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
    let call = |tool: &str, arguments: &str| {
        runtime.block_on(host.call(ToolCall::new(tool, arguments), Verdict::pass(), Run::default(), |_| {})).unwrap()
    };
    // Everything that is made once is made before.
    for attack in &attacks[..2] {
        call(&attack.tool, attack.arguments);
    }
    let mut table = Table::new("attack");
    for Attack { what, tool, arguments, kind } in &attacks {
        let (record, cost) = measured(|| call(tool, arguments));
        table.row(what, record.error.as_ref().map_or("ok", |e| e.kind.name()), kind, cost, MOST);
    }
    table.end();
    let record = call("guest/echo", r#"{"text":"still here"}"#);
    assert!(record.error.is_none(), "{:?}", record.error);
    let out = std::fs::read_dir(world.path("workspace/out")).unwrap();
    let sizes: Vec<u64> = out.map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert!(sizes.len() <= 10_000 + 3 && sizes.iter().sum::<u64>() <= 2 * (256 << 20), "{} files", sizes.len());
}

#[test]
fn types_of_a_garbage_collector_are_refused_when_the_component_is_loaded() {
    let world = World::new();
    let extra = "(type $s (struct (field i32))) (func (result i32) (struct.get $s 0 (struct.new_default $s)))";
    world.plugin("gc", &raw::component(extra, "(i32.const 1024)"), "");
    world.plugin("guest", &guest("guest"), "");
    let error = world.trusted(&["call", "gc/go"]).expect(6).error();
    assert_eq!(error["kind"], "quarantined", "{error}");
    assert!(error["message"].as_str().unwrap().contains("gc types are disabled"), "{error}");
    world.trusted(&["call", "guest/counter"]).expect(0);
}
