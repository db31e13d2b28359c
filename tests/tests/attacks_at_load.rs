//! What an attack costs the host that happens when a plugin is loaded, or through the schema of a tool
//! (`make attacks` shows them).

use palisade::config::Options;
use palisade::sandbox::Allocator;
use palisade::{Host, POOL};
use palisade_tests::bench::{self, runtime};
use palisade_tests::cost::{Cost, Table, measured};
use palisade_tests::raw::{self, Module};
use palisade_tests::{World, guest};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a schema may cost: the host reads 64 KiB of it, and arguments of a mebibyte.
const SCHEMA: Cost = Cost::mib(64);
/// The same for a call, whose plugin allows it a second; the rest is for a busy machine.
const CALL: Cost = Cost { took: Duration::from_secs(5), ..SCHEMA };
/// A component of 64 MiB, read and on its way to the compiler.
const COMPONENT: Cost = Cost::mib(2 * 64 + 24);
/// The same for one that is compiled in a moment.
const STALLED: Cost = Cost { took: Duration::from_secs(5), ..COMPONENT };
/// The same for one of 8 MiB whose code may be sixteen times as much.
const SWOLLEN: Cost = Cost::mib(16 * 8 + 2 * 8 + 24);
/// As much as an instance may have, and a little for the host itself.
const INSTANCE: Cost = Cost::mib(128 + 24);

/// One table at a time: the memory that is measured is that of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host of all plugins in this world, whose code cache is as fresh as the world.
fn load(world: &World) -> (Host, Cost) {
    let options = Options {
        profile: Some("trusted".to_owned()),
        workspace: Some(world.workspace()),
        plugin_dirs: vec![world.path("plugins")],
        ..Options::default()
    };
    measured(|| bench::load(world, &options, Allocator::Pool(POOL)))
}

/// Everything that is made once is made before.
fn warm() {
    let world = World::new();
    world.plugin("warm", &raw::component("", "(i32.const 1024)"), "");
    let (host, _) = load(&world);
    assert_eq!(call(&host, "warm/go", "{}").0, "ok");
}

/// How a call ended, and its cost.
fn call(host: &Host, tool: &str, arguments: &str) -> (&'static str, Cost) {
    let (record, cost) = measured(|| runtime().block_on(bench::call(host, tool, arguments)));
    (record.error.map_or("ok", |e| e.kind.name()), cost)
}

/// A component of so many tools, all with this schema.
fn many(count: usize, schema: &str) -> Vec<u8> {
    let definitions = format!(
        "(global.set $list (i32.mul (memory.grow (i32.const 100)) (i32.const 65536)))
        (loop $next
            (global.set $one (i32.add (global.get $list) (i32.mul (global.get $i) (i32.const 56))))
            (global.set $name (i32.add (global.get $list) (i32.add (i32.const {names}) (i32.mul (global.get $i) (i32.const 4)))))
            (memory.copy (global.get $one) (i32.const 1216) (i32.const 56))
            (i32.store (global.get $one) (global.get $name))
            (i32.store offset=4 (global.get $one) (i32.const 4))
            ;; Four letters of `a` to `p`.
            (i32.store8 (global.get $name) (i32.add (i32.const 97) (i32.and (global.get $i) (i32.const 15))))
            (i32.store8 offset=1 (global.get $name) (i32.add (i32.const 97) (i32.and (i32.shr_u (global.get $i) (i32.const 4)) (i32.const 15))))
            (i32.store8 offset=2 (global.get $name) (i32.add (i32.const 97) (i32.and (i32.shr_u (global.get $i) (i32.const 8)) (i32.const 15))))
            (i32.store8 offset=3 (global.get $name) (i32.add (i32.const 97) (i32.and (i32.shr_u (global.get $i) (i32.const 12)) (i32.const 15))))
            (global.set $i (i32.add (global.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (global.get $i) (i32.const {count}))))
        (i32.store (i32.const 1100) (global.get $list)) (i32.store (i32.const 1104) (i32.const {count})) (i32.const 1100)",
        names = count * 56
    );
    let globals = ["i", "list", "one", "name"].map(|name| format!("(global ${name} (mut i32) (i32.const 0))")).concat();
    Module { extra: &globals, schema, definitions: &definitions, ..Module::default() }.component()
}

/// A component of so many modules, whose memories the compiler fills with 16 MiB each, and of so many mebibytes itself.
fn swelling(modules: usize, mib: usize) -> Vec<u8> {
    let module = "(core module (memory 256) (data (i32.const 0) \"a\") (data (i32.const 16777000) \"b\"))";
    let padding = format!("(core module (memory 2000) (data (i32.const 0) \"{}\"))", "a".repeat(mib << 20));
    raw::component_text(&format!("(component {} {padding})", module.repeat(modules)))
}

#[test]
fn a_component_that_attacks_while_it_is_loaded_is_set_aside_and_costs_little() {
    let _alone = alone();
    warm();
    let data = format!("(memory $m 800) (data (memory $m) (i32.const 0) \"{}\")", "a".repeat(48 << 20));
    let large = raw::component(&data, "(i32.const 1024)");
    drop(data);
    let start = raw::component("(func $s (loop (br 0))) (start $s)", "(i32.const 1024)");
    let endless = Module { definitions: "(loop $l (br $l)) (i32.const 1100)", ..Module::default() }.component();
    let quick = "[limits]\ndefinitions_time = \"300ms\"\n";
    let plain = r#"{"type":"object"}"#;
    let attacks = [
        ("an endless loop in a start function", start, quick, "", "component", "(limit-time)", INSTANCE),
        ("an endless loop in its definitions", endless, quick, "", "component", "(limit-time)", INSTANCE),
        ("minutes of compiling", raw::bomb(30_000), "", "compile_time = \"1s\"", "component", "(`compile_time`)", COMPONENT),
        ("memory for compiling", large, "", "compile_memory = \"120MiB\"", "component", "does not compile", COMPONENT),
        ("16 MiB of code from a few bytes", swelling(1, 0), "", "", "component", "its code has more than 4194304 bytes", STALLED),
        ("480 MiB of code from 8 MiB", swelling(30, 8), "", "", "component", "its code has more than 134", SWOLLEN),
        ("257 tools", many(257, plain), "", "", "schema", "defines 257 tools; a source has at most 256", INSTANCE),
        ("100 000 tools", many(100_000, plain), "", "", "component", "(limit-output)", INSTANCE),
        ("a description of 50 MiB", guest("definitions_huge"), "", "", "component", "(limit-output)", INSTANCE),
    ];
    let mut table = Table::new("attack, while it is loaded");
    for (what, component, manifest, config, kind, why, most) in attacks {
        let world = World::new();
        world.plugin("attack", &component, manifest);
        drop(component);
        world.write("home/config.toml", format!("[limits]\n{config}\n"));
        let (host, cost) = load(&world);
        let ended = host.quarantined().first().map_or("ok", |q| q.error.kind.name());
        table.row(what, ended, kind, cost, most);
        let reasons = host.quarantined().iter().map(|q| q.error.message.as_str()).collect::<Vec<_>>();
        table.check(reasons.len() == 1 && reasons[0].contains(why), || format!("{what} was set aside for {reasons:?}"));
    }
    table.end();
}

#[test]
fn one_of_two_hundred_plugins_keeps_a_compiler_busy_and_the_others_answer() {
    let _alone = alone();
    warm();
    let world = World::new();
    world.write("home/config.toml", "[limits]\ncompile_time = \"1s\"\n");
    world.plugin("bomb", &raw::bomb(30_000), "");
    // Eight are compiled, and the others are the bytes of the first.
    let different: Vec<_> = (0..8).map(|i| raw::component(&format!("(data (i32.const 3000) \"{i}\")"), "(i32.const 1024)")).collect();
    for i in 0..199 {
        world.plugin(&format!("p{i}"), different.get(i).unwrap_or(&different[0]), "");
    }
    let (host, cost) = load(&world);
    let mut table = Table::new("attack, among 199 others");
    let ended = host.quarantined().first().map_or("ok", |q| q.error.kind.name());
    table.row("one plugin of 200 takes minutes to compile", ended, "component", cost, INSTANCE);
    let set_aside: Vec<_> = host.quarantined().iter().map(|q| (q.source.as_str(), q.error.message.as_str())).collect();
    assert!(matches!(&set_aside[..], [("bomb", why)] if why.contains("(`compile_time`)")), "{set_aside:?}");
    assert_eq!((host.plugins().len(), host.tools().count()), (199, 199));
    for name in ["p0", "p7", "p8", "p101", "p198"] {
        let (ended, cost) = call(&host, &format!("{name}/go"), "{}");
        table.row(&format!("  a call of {name}"), ended, "ok", cost, SCHEMA);
    }
    table.end();
}

/// How an attack by a schema should end.
#[derive(Clone, Copy)]
enum Ends {
    /// The tool is not registered, and the reason holds this.
    Refused(&'static str),
    /// It is registered, and a call ends with this kind.
    Call(&'static str),
}

/// An attack by a schema: what it is, the schema, the arguments of a call, and how it ends.
type BySchema = (&'static str, String, String, Ends);

/// A schema whose argument `a` has this schema.
fn of(argument: &str) -> String {
    format!(r#"{{"type":"object","properties":{{"a":{argument}}}}}"#)
}

/// So many times the same, as the items of a list.
fn times(count: usize, one: &str) -> String {
    format!("[{}]", vec![one; count].join(","))
}

/// So many levels of references to two of the next; the last is `leaf`.
fn doubling(levels: usize, leaf: &str) -> String {
    let defs: String =
        (0..levels).map(|i| format!(r##""a{i}":{{"allOf":[{{"$ref":"#/$defs/a{n}"}},{{"$ref":"#/$defs/a{n}"}}]}},"##, n = i + 1)).collect();
    format!(r##"{{"type":"object","$ref":"#/$defs/a0","$defs":{{{defs}"a{levels}":{leaf}}}}}"##)
}

/// A schema in so many others.
fn nested(levels: usize, open: &str, inner: &str, close: &str) -> String {
    format!(r#"{{"type":"object","not":{}{inner}{}}}"#, open.repeat(levels), close.repeat(levels))
}

fn of_structure() -> Vec<BySchema> {
    let (many_numbers, text) = (format!(r#"{{"a":{}}}"#, times(200_000, "1")), r#"{"a":1}"#.to_owned());
    let properties: String = (0..100_000).map(|i| format!("\"{i}\":1,")).collect();
    let names: String = (0..1900).map(|i| format!("\"p{i}-{}\":{{}},", "x".repeat(20))).collect();
    let words: Vec<_> = (0..1900).map(|i| format!("\"{i}{}\"", "x".repeat(26))).collect();
    let mixed: Vec<_> = (0..900).map(|i| format!("[{i}]")).collect();
    let last = format!(r#"{{"a":{}}}"#, times(30_000, words.last().unwrap()));
    vec![
        ("doubling references, 60 deep", doubling(60, "true"), text.clone(), Ends::Refused("after expanding its references")),
        (
            "doubling references, 6 deep",
            doubling(6, r#"{"additionalProperties":{"type":"number"}}"#),
            format!("{{{properties}\"z\":1}}"),
            Ends::Call("denied"),
        ),
        ("recursion", of(r##"{"$ref":"#"}"##), text.clone(), Ends::Refused("recursive")),
        (
            "an argument 100 000 deep",
            of("true"),
            format!(r#"{{"a":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
            Ends::Call("denied"),
        ),
        ("an enum of 60 kB", of(&format!(r#"{{"items":{{"enum":[{}]}}}}"#, words.join(","))), last, Ends::Call("denied")),
        (
            "an enum of 900 lists",
            of(&format!(r#"{{"items":{{"enum":[{}]}}}}"#, mixed.join(","))),
            format!(r#"{{"a":{}}}"#, times(10_000, "[899]")),
            Ends::Call("ok"),
        ),
        (
            "1900 properties",
            format!(r#"{{"type":"object","properties":{{{names}"z":true}}}}"#),
            format!("{{{properties}\"z\":1}}"),
            Ends::Call("denied"),
        ),
        (
            "a schema above 64 KiB",
            of(&format!(r#"{{"description":"{}"}}"#, "x".repeat(65_536))),
            text.clone(),
            Ends::Refused("65536 are read"),
        ),
        ("nested 28 deep", nested(28, r#"{"not":"#, "true", "}"), text.clone(), Ends::Call("denied")),
        ("nested 100 deep", nested(100, r#"{"not":"#, "true", "}"), text.clone(), Ends::Refused("deeper than")),
        ("nested 8000 deep", nested(8000, r#"{"not":"#, "true", "}"), text, Ends::Refused("not strict JSON")),
        (
            "490 schemas for each of 200 000 numbers",
            of(&format!(r#"{{"allOf":{}}}"#, times(490, r#"{"items":{"type":"integer"}}"#))),
            many_numbers,
            Ends::Call("denied"),
        ),
        // An error is kept for each number and each of the alternatives.
        (
            "8 alternatives that 50 000 numbers miss",
            of(&format!(r#"{{"anyOf":{}}}"#, times(8, r#"{"items":{"type":"string"}}"#))),
            format!(r#"{{"a":{}}}"#, times(50_000, "1")),
            Ends::Call("denied"),
        ),
        // What each level has evaluated is found by evaluating the levels below it again.
        ("27 levels of unevaluatedProperties", unevaluated(27), r#"{"b":1}"#.to_owned(), Ends::Refused("deep in each other")),
    ]
}

/// So many conditions, each in the one above.
fn unevaluated(levels: usize) -> String {
    let inner = (0..levels).fold("true".to_owned(), |inner, _| format!(r#"{{"if":{inner},"unevaluatedProperties":{{"type":"integer"}}}}"#));
    format!(r#"{{"type":"object",{}"#, &inner[1..])
}

fn of_patterns() -> Vec<BySchema> {
    let of_pattern = |pattern: &str| of(&format!(r#"{{"pattern":"{pattern}"}}"#));
    let text = |length: usize| format!(r#"{{"a":"{}!"}}"#, "a".repeat(length));
    // Letters without a rule, so that no state comes back.
    let mut seed = 1_u32;
    let mut letter = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if seed >> 31 == 0 { 'a' } else { 'b' }
    };
    let mut letters = |count: usize| (0..count).map(|_| letter()).collect::<String>();
    // It matches at its very end.
    let random = format!("{}a{}d", letters(64_000), letters(700));
    vec![
        ("pattern ^(a+)+$", of_pattern("^(a+)+$"), text(1_000_000), Ends::Call("denied")),
        ("pattern ^(a|aa)+$", of_pattern("^(a|aa)+$"), text(1_000_000), Ends::Call("denied")),
        ("pattern with a backreference", of_pattern(r"^(a+)\\1$"), text(1000), Ends::Refused("looks around or back")),
        ("pattern with a lookahead", of_pattern("^(?=(a+)+b)a"), text(1000), Ends::Refused("looks around or back")),
        ("pattern (a{1,1000}){1,1000}", of_pattern("(a{1,1000}){1,1000}"), text(1000), Ends::Refused("regex")),
        // Each is at the bound of a pattern's size, and all of its states live at once.
        (
            "64 patterns of 700 letters, 64 kB",
            of(&format!(r#"{{"allOf":{}}}"#, times(64, r#"{"pattern":"[ab]*a[ab]{700}[de]"}"#))),
            format!(r#"{{"a":"{random}"}}"#),
            Ends::Call("denied"),
        ),
    ]
}

/// Room for arguments of a mebibyte, made when it is first asked for.
const ROOM: &str = "(if (i32.eq (global.get $next) (i32.const 4096))
    (then (global.set $next (i32.mul (memory.grow (i32.const 40)) (i32.const 65536)))))";

/// Loads a plugin of each schema, and calls those that are registered.
fn run(table: &mut Table, attacks: Vec<BySchema>) {
    for (what, schema, arguments, ends) in attacks {
        let world = World::new();
        world.plugin("attack", &Module { allocate: ROOM, schema: &schema, ..Module::default() }.component(), "[limits]\ntime = \"1s\"\n");
        let (host, cost) = load(&world);
        let set_aside = host.quarantined().first().map(|q| &q.error);
        let ended = set_aside.map_or("ok", |error| error.kind.name());
        let expected = match ends {
            Ends::Refused(_) => "schema",
            Ends::Call(_) => "ok",
        };
        table.row(what, ended, expected, cost, SCHEMA);
        match (ends, set_aside) {
            (Ends::Refused(why), Some(error)) => {
                table.check(error.message.contains(why), || format!("{what} was refused because {}", error.message));
            }
            (Ends::Call(kind), None) => {
                let (ended, cost) = call(&host, "attack/go", &arguments);
                table.row("  its call", ended, kind, cost, CALL);
            }
            _ => {}
        }
    }
}

#[test]
fn a_schema_is_refused_or_its_calls_are_bounded() {
    let _alone = alone();
    warm();
    let mut table = Table::new("attack, by a schema");
    run(&mut table, of_structure());
    run(&mut table, of_patterns());
    // All tools that a source may have, each with as much as fits the definitions of all.
    let patterns: String = (0..64).map(|i| format!(r#""p{i}":{{"pattern":"a{i}(a?b?){{90}}$"}},"#)).collect();
    let schema = format!(r#"{{"type":"object","properties":{{{patterns}"z":true}}}}"#);
    let world = World::new();
    world.plugin("attack", &many(256, &schema), "");
    let (host, cost) = load(&world);
    let ended = host.quarantined().first().map_or("ok", |q| q.error.kind.name());
    table.row("256 tools, each of 64 patterns", ended, "schema", cost, SCHEMA);
    // As many as there is room for are registered.
    table.check(host.tools().count() == 8, || format!("{} tools are registered", host.tools().count()));
    table.end();
}

#[test]
fn a_schema_that_refers_elsewhere_is_refused_and_nothing_is_contacted() {
    let _alone = alone();
    warm();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let here = format!("http://{}/x", listener.local_addr().unwrap());
    let empty = String::from("{}");
    let mut table = Table::new("attack, by a reference");
    run(
        &mut table,
        vec![
            (
                "$ref to another host",
                r#"{"type":"object","$ref":"https://example.com/x"}"#.to_owned(),
                empty.clone(),
                Ends::Refused("inside it"),
            ),
            ("$ref to this machine", format!(r#"{{"type":"object","$ref":"{here}"}}"#), empty.clone(), Ends::Refused("inside it")),
            ("$id on this machine", format!(r#"{{"type":"object","$id":"{here}"}}"#), empty.clone(), Ends::Refused("$id")),
            ("$schema on this machine", format!(r#"{{"type":"object","$schema":"{here}"}}"#), empty, Ends::Call("ok")),
        ],
    );
    table.end();
    let asked = listener.accept().map(|(_, from)| from).map_err(|e| e.kind());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock));
}
