//! Calls that are not what a tool's schema asks for: none enters a component, and none that is right is refused.
//!
//! Whether a case is right is known from how it was made, never from asking a validator.

use palisade::check::generate::{KNOWN, Maker, Random, Style};
use palisade::check::spoil;
use palisade::config::{Home, Settings};
use palisade::policy::{Rule, StepVerdict, Verdict};
use palisade::record::Outcome;
use palisade::sandbox::Run;
use palisade::{Host, LoadOptions, ToolCall};
use palisade_tests::{World, bench, example, raw};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Sets of right arguments for each tool; of each come all the ways to spoil it.
const CASES: usize = 8;
/// Every run makes the same cases.
const SEED: u64 = 0x005e_ed0f_ca11;
/// Those of the example plugins that are quick to answer and reach nothing; of the others only the gate is asked.
const CALLED: [&str; 3] = ["text-stats/count", "json-query/query", "bounded/go"];

/// The keywords that no example has.
const BOUNDED: &str = r#"{"type":"object","properties":{
    "word":{"type":"string","minLength":2,"maxLength":5}, "level":{"type":"integer","minimum":-3,"maximum":12},
    "share":{"type":"number","minimum":0,"maximum":1}, "mode":{"type":"string","enum":["fast","slow"]},
    "list":{"type":"array","items":{"type":"integer","minimum":0,"maximum":9},"minItems":1,"maxItems":3},
    "inner":{"type":"object","properties":{"on":{"type":"boolean"},"at":{"type":["string","null"],"maxLength":4}},
        "required":["on"],"additionalProperties":false}
    },"required":["word","level","list","inner"],"additionalProperties":false}"#;

/// The generator's cases are right by how they are made only for the keywords it knows; another one stops the test.
fn assert_known(schema: &Value) {
    const ANNOTATIONS: [&str; 5] = ["title", "description", "format", "x-palisade-prompt", "examples"];
    let map = schema.as_object().expect("a schema is an object");
    let unknown: Vec<_> = map.keys().filter(|key| !ANNOTATIONS.contains(&key.as_str()) && !KNOWN.contains(&key.as_str())).collect();
    assert_eq!(unknown, [] as [&String; 0], "teach the generator these keywords");
    let object = map["type"] == "object" || map["type"].as_array().is_some_and(|types| types.iter().any(|one| one == "object"));
    assert!(!object || map["additionalProperties"] == json!(false), "every schema is closed");
    map.get("properties").and_then(Value::as_object).into_iter().flatten().for_each(|(_, below)| assert_known(below));
    map.get("items").into_iter().for_each(assert_known);
}

fn host(world: &World) -> Host {
    let module = raw::Module { schema: BOUNDED, ..raw::Module::default() };
    let bounded = world.plugin("bounded", &module.component(), "");
    let folder = palisade_tests::root().join("example-plugins");
    // Those in Rust; the others need more than cargo.
    let folders = std::fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("a folder").path());
    let rust = folders.filter(|folder| folder.join("Cargo.toml").is_file());
    let names = rust.map(|folder| folder.file_name().expect("a name").to_owned());
    let plugins = names.map(|name| example(name.to_str().expect("text"))).chain([bounded]).collect();
    let mut options = bench::options(world, plugins, 0);
    options.grants = ["search:fs:read:@workspace", "secrets:fs:read:@workspace", "notes:store"].map(str::to_owned).to_vec();
    // Compiled code is shared with the tests that run the binary, and stands under the key all worlds have.
    let mut home = Home::at(&world.path("home")).expect("a home");
    (home.state, home.cache) = (world.path("state/palisade"), palisade_tests::root().join("target/test-cache/palisade"));
    let settings = Settings::resolve(&options, home).expect("settings");
    let compiler = palisade_tests::binary();
    let load = LoadOptions { compiler: Some(&compiler), ..LoadOptions::default() };
    bench::runtime().block_on(Host::load(settings, load)).expect("a host")
}

/// What the step for arguments says.
fn step(host: &Host, id: &str, bytes: &[u8]) -> StepVerdict {
    let explanation = host.explain(id, Some(bytes)).expect("a tool");
    explanation.steps.iter().find(|step| step.rule == Rule::Arguments).expect("a step").verdict
}

/// Whether the call entered its component, as far as its record says.
fn entered(runtime: &tokio::runtime::Runtime, host: &Host, id: &str, bytes: &[u8]) -> bool {
    let mut allowed = None;
    let call = ToolCall { id: id.to_owned(), arguments: bytes.into() };
    let decided = |decision: &palisade::record::Decision<'_>| allowed = Some(decision.denial.is_none());
    let record = runtime.block_on(host.call(call, Verdict::pass(), Run::default(), decided)).expect("a tool");
    if let Some(denial) = &record.denial {
        assert_eq!((denial.rule.as_str(), record.outcome), ("arguments", Outcome::Denied), "{denial:?}");
        assert!(record.content.is_empty() && !denial.reason.is_empty(), "{record:?}");
    }
    assert_eq!(allowed, Some(record.outcome != Outcome::Denied), "what is decided is what happens");
    allowed.expect("it was decided")
}

#[test]
fn no_malformed_call_enters_a_component_and_no_right_one_is_refused() {
    let world = World::new();
    let host = host(&world);
    let runtime = bench::runtime();
    let mut random = Random::new(SEED);
    let (mut rights, mut kinds) = (0u32, BTreeMap::<&str, u32>::new());
    let mut seen = Vec::new();
    for tool in host.tools() {
        let id = tool.spec.id.as_str();
        if host.admit(tool).is_err() {
            assert_eq!(id, "shell/bash", "the gate denies it before it looks at arguments");
            assert!(!entered_at_all(&runtime, &host, id));
            continue;
        }
        seen.push(id);
        let schema = tool.spec.input.value();
        assert_known(schema);
        let make = |random: &mut Random| Maker::new(random, Style::Plain, 1 << 16).value(schema, schema);
        let check = |bytes: &[u8], right: bool, kind: &str| {
            let shown = || format!("{id}, {kind}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(400)]));
            if CALLED.contains(&id) {
                assert_eq!(entered(&runtime, &host, id, bytes), right, "{}", shown());
            } else {
                assert_eq!(step(&host, id, bytes), if right { StepVerdict::Pass } else { StepVerdict::Deny }, "{}", shown());
            }
        };
        for _ in 0..CASES {
            let right = make(&mut random);
            for bytes in spoil::writings(&right) {
                check(&bytes, true, "right");
                rights += 1;
            }
            let values = spoil::values(schema, schema, &right, &mut random);
            let values = values.into_iter().map(|(kind, value)| (kind, value.to_string().into_bytes()));
            for (kind, bytes) in values.chain(spoil::bytes(&right, &mut random)) {
                check(&bytes, false, kind);
                *kinds.entry(kind).or_default() += 1;
            }
        }
        // Right but for its size.
        let padded = [make(&mut random).to_string().as_bytes(), &vec![b' '; 1 << 20]].concat();
        check(&padded, false, "too large");
    }
    println!("{rights} right, {} malformed: {kinds:?}", kinds.values().sum::<u32>());
    assert_eq!(seen.len(), 12, "{seen:?}");
    assert!(CALLED.iter().all(|id| seen.contains(id)), "{seen:?}");
    let few: Vec<_> = kinds.iter().filter(|(_, count)| **count < 8).collect();
    assert!(kinds.len() >= 20 && few.is_empty(), "each kind is tried often: {few:?} of {kinds:?}");
}

fn entered_at_all(runtime: &tokio::runtime::Runtime, host: &Host, id: &str) -> bool {
    let call = ToolCall::new(id, r#"{"command":"ls"}"#);
    let record = runtime.block_on(host.call(call, Verdict::pass(), Run::default(), |_| {})).expect("a tool");
    record.outcome != Outcome::Denied
}
